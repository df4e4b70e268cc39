"""The picture: everybody who checks, beside the bare Flask route."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rounds import BARE, OURS, Measurement, Result, app_cpu, rate

_OURS = "#1a7f5a"
_PEERS = "#8a96a3"
_BASE = "#333333"


def draw(results: Sequence[Result], path: Path) -> bool:
    """Write a PNG with rate and CPU of all of them; return whether there were any."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - where it is missing, `requirements` says so

    if not results:
        return False
    shown = sorted(results, key=lambda one: one.to_bare(rate).median)
    figure = Figure(figsize=(11, 1.2 + 0.45 * len(shown)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _bars(left, shown, rate, "requests/s (more is better)")
    _bars(right, shown, app_cpu, "application CPU per request (less is better)")
    figure.suptitle("Turn this token into this user, against a bare Flask route")
    figure.savefig(path, dpi=120)
    return True


def _bars(
    axes: Any, results: Sequence[Result], of: Callable[[Measurement], float], title: str
) -> None:
    ratios = [one.to_bare(of).median for one in results]
    bars = axes.barh([one.name for one in results], ratios, color=[_color(s) for s in results])
    axes.bar_label(bars, fmt="%.2f ×", padding=3, fontsize=9)
    axes.axvline(1, color=_BASE, linewidth=0.8, linestyle=":")
    axes.set_title(title, fontsize=10)
    axes.set_xlim(0, 1.18 * max(ratios))
    axes.spines[["top", "right"]].set_visible(False)


def _color(result: Result) -> str:
    if result.name == BARE:
        return _BASE
    return _OURS if result.name.startswith(OURS) else _PEERS
