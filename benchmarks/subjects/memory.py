"""What a worker holds after many requests, beside what it held after some."""

from benchmarks.bench import Bench
from benchmarks.load import Work
from benchmarks.outcome import Figure, Outcome, Table
from benchmarks.processes import children, resident_bytes
from benchmarks.servers import Ours


def measure(bench: Bench) -> Outcome:
    """Look at the worker twice; noise does not matter here."""
    filled = bench.ours(bench.scale.growth[0])
    work = Work("GET", "/check_session", filled.requests)
    done, rows = 0, []
    sizes = []
    with Ours(filled.url) as server:
        (master,) = children(server.pid)
        (worker,) = children(master)
        for wanted in bench.scale.memory:
            while done < wanted:
                done += bench.load.run(server.port, work, seconds=bench.scale.seconds).requests
            sizes.append(resident_bytes(worker))
            rows.append((f"after {done:,} requests", f"{sizes[-1] / 2**20:.1f}"))
    few, many = bench.scale.memory
    what = f"memory after {many:,} requests against {few:,}"
    figure = Figure(what, 1.05, sizes[1] / sizes[0], at_most=True)
    return Outcome([Table(("a worker of 8 threads", "MiB"), rows)], [figure])
