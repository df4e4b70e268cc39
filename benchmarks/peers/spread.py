"""Which of many sessions are presented."""


def spread(total: int, count: int) -> range:
    """Return numbers from 1 to `total`, as far apart as so many of them can be."""
    step = max(1, total // count)
    return range(step, min(total, step * count) + 1, step)
