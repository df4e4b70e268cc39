"""Where the CPU of a request goes: what stands in the way of a figure."""

from benchmarks.bench import Bench
from benchmarks.machine import SERVER_CORE, on_core
from benchmarks.outcome import Outcome
from benchmarks.profile import KINDS, profile
from benchmarks.wechat import WeChat

_HOW = (
    "Sampled in one process without a server in front, so without the greater part of a check. A"
    " row is a module of ours and the library that it calls; what has less than 1 % is left out."
)


def measure(bench: Bench) -> Outcome:
    """Profile one kind of request after the other."""
    tables = []
    with WeChat(delay=0) as wechat:
        for kind in KINDS:
            name = f"profile_{kind}"
            bench.postgres.create_database(name)
            with on_core(SERVER_CORE):
                tables.append(
                    profile(
                        bench.postgres, name, wechat.url, kind=kind, count=bench.scale.prepared // 2
                    )
                )
            bench.postgres.drop_database(name)
    return Outcome(tables, notes=[_HOW])
