"""The least value of each figure, and the aim."""

from __future__ import annotations

from msgspec import Struct

from benchmarks.measuring import Spread


class Mark(Struct, frozen=True):
    """One figure: at least `least`, better `aim`; `at_most`: smaller is better."""

    name: str
    least: float
    aim: float
    at_most: bool = False

    def verdict(self, measured: Spread) -> str:
        """``aim``, ``ok`` or ``short``, by the median.

        >>> Mark("speed", 2.0, 3.0).verdict(Spread(2.5, 2.4, 2.6))
        'ok'
        """
        sign = -1 if self.at_most else 1
        if sign * measured.median >= sign * self.aim:
            return "aim"
        return "ok" if sign * measured.median >= sign * self.least else "short"


class Figure(Struct, frozen=True):
    """A mark and the measured value; `unit` is empty for a ratio."""

    mark: Mark
    measured: Spread
    unit: str = ""


MARKS = {
    mark.name: mark
    for mark in (
        Mark("recorded log / Schema.load, dropped", 28, 45),
        Mark("recorded log / pydantic, dropped", 2.2, 3.2),
        Mark("recorded log / pydantic, kept", 5, 7.5),
        Mark("recorded log / msgspec alone, dropped", 0.7, 0.95),
        Mark("recorded log / msgspec alone, kept", 1.2, 1.8),
        Mark("recorded log / orjson.loads alone, dropped", 0.6, 0.85),
        Mark("memory of a kept event / pydantic's", 0.35, 0.25, at_most=True),
        Mark("large chunks / httpx + pydantic", 2.4, 3.5),
        Mark("large chunks / requests + json", 2.8, 4.2),
        Mark("one event per chunk / httpx + pydantic", 4.5, 7.5),
        Mark("large chunks / orjson.loads in memory", 0.42, 0.6),
        Mark("opening to the first event / requests", 1.6, 1.1, at_most=True),
        Mark("lone event, median", 0.3, 0.15, at_most=True),
        Mark("lone event, p99", 2, 0.4, at_most=True),
        Mark("200 streams at once / one stream, rate", 0.5, 0.85),
        Mark("200 streams merged / one by one, rate", 0.7, 0.9),
        Mark("1,000 streams disposed and free", 1, 0.3, at_most=True),
        Mark("memory of an idle stream", 80, 45, at_most=True),
        Mark("CPU of 300 idle streams", 1, 0, at_most=True),
        Mark("watch / run_events", 1.15, 1.08, at_most=True),
        Mark("memory growth through four operators", 5, 1, at_most=True),
        Mark("page of 100,000 events, opening", 3, 1, at_most=True),
        Mark("run_state, a node of 100,000 / of 20,000", 2, 1.2, at_most=True),
        Mark("page, a node of 100,000 / of 20,000", 1.5, 1.1, at_most=True),
        Mark("import ops and run_events / its four libraries", 1.4, 1.1, at_most=True),
        Mark("two workers / two plain processes, gain", 0.9, 1.0),
        Mark("one worker / plain fold, time", 1.25, 1.12, at_most=True),
        Mark("cost totals of a large log / DuckDB, rate", 0.5, 1.5),
        Mark("rxruns cost / DuckDB, rate", 1, 1.3),
        Mark("rxruns cost / Polars, rate", 2, 2.5),
        Mark("fold of a gzip log / gzip -dc and the fold, time", 1.3, 1, at_most=True),
    )
}
