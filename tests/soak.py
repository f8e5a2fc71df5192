"""The measured values of the reliability tests beside their marks: a table at the end of ``tox -e soak``."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

MIB = 2**20
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Measurement:
    """The worst value so far, and the number of values."""

    row: str
    what: str
    value: float
    mark: float
    unit: str
    times: int = 1

    def __str__(self) -> str:
        times = f" (worst of {self.times:,})" if self.times > 1 else ""
        value, mark = (_formatted(number, self.unit) for number in (self.value, self.mark))
        return f"{self.row:<4} {self.what:<62} {value}, mark {mark}{times}"


measurements: dict[tuple[str, str], Measurement] = {}


def measured(row: str, what: str, value: float, mark: float, unit: str = "s") -> float:
    """Keep the largest value measured for a row of ``docs/reliability.md``.

    Returns:
        `value`.
    """
    known = measurements.get((row, what))
    if known is None:
        measurements[row, what] = Measurement(row, what, value, mark, unit)
    else:
        known.value = max(known.value, value)
        known.times += 1
    return value


def table() -> list[str]:
    """The lines of the table, by row."""
    by_number = sorted(measurements.values(), key=lambda found: (int(found.row[1:]), found.what))
    return [str(found) for found in by_number]


both_sizes = pytest.mark.parametrize(
    "soaking", [pytest.param(False, id="suite"), pytest.param(True, id="soak", marks=pytest.mark.soak)]
)
"""Run a test twice: small in the suite, with times as hang guards, and at full size against its marks."""


def patience(soaking: bool) -> float:
    """The factor on marks: 1 when they are measured, otherwise 20, as a hang guard."""
    return 1.0 if soaking else 20.0


def resident(process: int | str = "self") -> float:
    """Bytes of memory of a process (RSS)."""
    return float(Path(f"/proc/{process}/statm").read_text("ascii").split()[1]) * _PAGE


@contextmanager
def peak_of_memory(process: int | str = "self") -> Iterator[Callable[[], float]]:
    """Yield a function that returns the peak growth of RSS since the block began, in bytes."""
    gc.collect()
    _give_back()
    before = resident(process)
    Path(f"/proc/{process}/clear_refs").write_text("5", "ascii")  # resets the peak to the current size

    def grown() -> float:
        status = Path(f"/proc/{process}/status").read_text("ascii")
        (line,) = [line for line in status.splitlines() if "VmHWM" in line]
        return float(line.split()[1]) * 1024 - before

    yield grown


def _give_back() -> None:
    """Return free memory to the system: new objects in it would not show as growth."""
    with suppress(OSError, AttributeError):  # only in glibc
        ctypes.CDLL(None).malloc_trim(0)


def _formatted(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "MiB":
        return f"{value / MIB:.2f} MiB"
    return f"{value:,.4g} {unit}".rstrip()
