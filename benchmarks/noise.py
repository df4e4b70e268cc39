"""What else the machine did while something was measured."""

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from benchmarks.machine import CORES
from benchmarks.processes import cpu_seconds

GROSS_NOISE: Final = 0.25
"""The share of the cores' time beyond which a comparison does not count, if most are quieter."""

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Noise:
    """The shares of the cores' time that were not ours."""

    others: float
    stolen: float

    @property
    def total(self) -> float:
        """What was missing, whoever had it."""
        return self.others + self.stolen


@dataclass(frozen=True)
class CpuTimes:
    """The clocks of the machine at one moment, in seconds."""

    at: float
    busy: float
    stolen: float
    ours: float

    @classmethod
    def now(cls, cores: Collection[int] = CORES) -> Self:
        """Read them all; ours are this process and everything it started."""
        lines = Path("/proc/stat").read_text().splitlines()
        names = {f"cpu{core}" for core in cores}
        ticks = [_numbers(line) for line in lines if line.partition(" ")[0] in names]
        # user, nice, system, irq, softirq: a process is charged for the interrupts that it met.
        busy = sum(sum(numbers[:3]) + sum(numbers[5:7]) for numbers in ticks)
        stolen = sum(numbers[7] for numbers in ticks)
        (ours,) = cpu_seconds(os.getpid())
        return cls(time.monotonic(), busy * _TICK, stolen * _TICK, ours)

    def until(self, later: "CpuTimes", cores: Collection[int] = CORES) -> Noise:
        """Return what others took between this moment and a later one."""
        whole = (later.at - self.at) * len(cores)
        others = (later.busy - self.busy) - (later.ours - self.ours)
        return Noise(max(0.0, others / whole), (later.stolen - self.stolen) / whole)


def _numbers(line: str) -> list[int]:
    return [int(number) for number in line.split()[1:]]
