"""The sections: each measures, and reports tables and marks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from msgspec import Struct

from benchmarks import fleet, growth, in_memory, latency, loopback, nodes, page, processes, view
from benchmarks.corpus import MIXES
from benchmarks.measuring import Sample, Spread, per_event, ratio, spread
from benchmarks.processes import import_seconds, measured_alone
from benchmarks.report import Report
from benchmarks.server import serving

LIBRARIES = "import reactivex, requests, marshmallow, msgspec"
SHAPES = {"large": 32 * 1024, "small": 16 * 1024, "largest": 64 * 1024, "single": 0}
_SHAPE_NAMES = {
    "large": "32 KiB chunks",
    "small": "16 KiB chunks",
    "largest": "64 KiB chunks",
    "single": "one event per chunk",
}
_COLUMNS = ("", "CPU µs an event", "wall µs an event", "CPU ÷ ours", "wall ÷ ours")


class Plan(Struct, frozen=True, kw_only=True):
    """The amount of work to measure."""

    events: int
    loopback_events: int
    rounds: int
    lone: int
    idle_seconds: float
    growth_events: int
    quick: bool = False


def in_memory_tables(plan: Plan, report: Report) -> None:
    """Recorded logs against loaders of lines in memory."""
    for mix in MIXES[: 1 if plan.quick else None]:
        samples = in_memory.measure(mix, plan.events, plan.rounds)
        for fate, by_name in samples.items():
            _compare(report, f"Recorded log, mix {mix}, {fate}", by_name, in_memory.OURS, plan.events)
        if mix == "stream":
            _mark_in_memory(report, samples)
            _mark_kept_memory(report, plan)


def _mark_in_memory(report: Report, samples: Mapping[str, Mapping[str, Sequence[Sample]]]) -> None:
    for peer, name, fates in (
        ("Schema.load", "Schema.load", ("dropped",)),
        ("pydantic", "pydantic", ("dropped", "kept")),
        ("msgspec", "msgspec alone", ("dropped", "kept")),
        ("orjson.loads", "orjson.loads alone", ("dropped",)),
    ):
        for fate in fates:
            report.mark(f"recorded log / {name}, {fate}", ratio(samples[fate], peer, in_memory.OURS))


def _mark_kept_memory(report: Report, plan: Plan) -> None:
    with in_memory.recorded_log("stream", max(plan.events, 50_000)) as path:
        ours, theirs = (
            [float(measured_alone(processes.kept_bytes, name, path)) for _ in range(3)]
            for name in (in_memory.OURS, "pydantic")
        )
    report.table(
        "Memory of a kept event", ("", "bytes"), [("rxruns", spread(ours)), ("pydantic", spread(theirs))]
    )
    report.mark(
        "memory of a kept event / pydantic's",
        spread([mine / other for mine, other in zip(ours, theirs, strict=True)]),
    )


def loopback_tables(plan: Plan, report: Report) -> None:
    """Socket to on_next, over HTTP from another process."""
    with serving() as server:
        for mix in MIXES[: 1 if plan.quick else None]:
            for shape in ("large", "single") if plan.quick else SHAPES:
                events = plan.loopback_events
                samples = loopback.measure(server, mix, SHAPES[shape], events, plan.rounds)
                for fate, by_name in samples.items():
                    title = f"Loopback, {_SHAPE_NAMES[shape]}, mix {mix}, {fate}"
                    _compare(report, title, by_name, loopback.OURS, events)
                if mix == "stream":
                    _mark_loopback(report, shape, samples["dropped"])


def _mark_loopback(report: Report, shape: str, samples: Mapping[str, Sequence[Sample]]) -> None:
    if shape == "large":
        for peer in ("httpx + pydantic", "requests + json", "orjson.loads in memory"):
            report.mark(f"large chunks / {peer}", ratio(samples, peer, loopback.OURS))
    elif shape == "single":
        report.mark(
            "one event per chunk / httpx + pydantic", ratio(samples, "httpx + pydantic", loopback.OURS)
        )


def latency_table(plan: Plan, report: Report) -> None:
    """Opening a stream, and lone events."""
    with serving() as server:
        samples = latency.openings(server, plan.rounds)
        delays = latency.lone_events(server, plan.lone)
        floor = latency.lone_bytes(server, plan.lone)
    _compare(report, "Opening a stream to its first event", samples, latency.OURS, latency.AT_ONCE)
    slower = [
        mine.wall / theirs.wall
        for mine, theirs in zip(samples[latency.OURS], samples["requests"], strict=True)
    ]
    report.mark("opening to the first event / requests", spread(slower))
    report.table(
        "Lone event, write to sight",
        ("", "median ms", "p99 ms"),
        [
            (name, times[len(times) // 2], times[len(times) * 99 // 100])
            for name, times in ((latency.OURS, delays), ("a bare socket", floor))
        ],
    )
    report.mark("lone event, median", _point(delays[len(delays) // 2]), "ms")
    report.mark("lone event, p99", _point(delays[len(delays) * 99 // 100]), "ms")


def idle_table(plan: Plan, report: Report) -> None:
    """The cost of idle streams."""
    with serving() as server:
        cost = measured_alone(processes.idle, server, 300, plan.idle_seconds)
    report.mark("memory of an idle stream", _point(cost["kib"]), "KiB")
    report.mark("CPU of 300 idle streams", _point(round(cost["cpu_percent"], 2)), "%")


def streams_table(plan: Plan, report: Report) -> None:
    """The same number of events, over more and more streams at once."""
    counts = [1, 200] if plan.quick else [1, 10, 50, 200, 1000]
    total = plan.loopback_events * 20
    with serving() as server:
        samples = growth.streams(server, counts, total, plan.rounds)
    _compare(report, f"Streams at once, {total:,} events in all", samples, "1", total)
    report.mark("200 streams at once / one stream, rate", ratio(samples, "1", "200"))


def fleet_tables(plan: Plan, report: Report) -> None:
    """Live streams in one process, opened and disposed; the cost of merging them."""
    with serving() as server:
        lives = [
            measured_alone(fleet.live, server, count, plan.idle_seconds)
            for count in ([1, 100] if plan.quick else [1, 10, 100, 1_000])
        ]
        waiting = measured_alone(fleet.waiting_id_bytes, server, 20_000 if plan.quick else 200_000)
        count, total = 200, plan.loopback_events * 20
        samples = fleet.merging(server, count, total, plan.rounds)
    columns = {
        "streams": "streams",
        "threads": "threads",
        "descriptors": "descriptors",
        "kib": "KiB a stream",
        "open_cpu_ms": "CPU ms to open one",
        "open_s": "s to open all",
        "idle_percent": "CPU % while idle",
        "dispose_s": "s in dispose",
        "freed_s": "s until all is free",
        "descriptors_left": "descriptors left",
        "pool_warnings": "pool warnings",
    }
    report.table("Live streams", list(columns.values()), [[live[name] for name in columns] for live in lives])
    report.table("An id that waits for its turn", ("", "bytes"), [("of an Observable", waiting)])
    _compare(report, f"{count} streams, {total:,} events in all", samples, fleet.MERGED, total)
    report.mark("200 streams merged / one by one, rate", ratio(samples, fleet.ALONE, fleet.MERGED))
    if not plan.quick:
        report.mark("1,000 streams disposed and free", _point(lives[-1]["freed_s"]), "s")


def operators_tables(plan: Plan, report: Report) -> None:
    """More operators in a row, and the cost of ours beside RxPY's own."""
    log = growth.decoded(plan.events)
    rows = [
        (name, per_event(samples, len(log)))
        for name, samples in growth.chains(log, [1, 2, 4, 7, 10], plan.rounds).items()
    ]
    report.table("RxPY filters in a row", ("", "CPU µs an event"), rows)
    samples = growth.operators(log, plan.rounds)
    plain = samples[growth.PLAIN]
    beyond = [
        (
            name,
            per_event(mine, len(log)),
            spread([(one.cpu - other.cpu) / len(log) * 1e6 for one, other in zip(mine, plain, strict=True)]),
        )
        for name, mine in samples.items()
    ]
    report.table("One operator", ("", "CPU µs an event", f"beyond {growth.PLAIN}"), beyond)


def growth_table(plan: Plan, report: Report) -> None:
    """Rate and memory for more and more events through four operators."""
    rows = []
    events = 10_000
    while events <= plan.growth_events:
        with serving() as server:
            cost = measured_alone(processes.growth, server, events)
        rows.append((f"{events:,}", events / cost["cpu"], events / cost["wall"], cost["growth_mib"]))
        events *= 10
    report.table("Events through four operators", ("", "events/CPU s", "events/s", "memory growth MiB"), rows)
    report.mark("memory growth through four operators", _point(max(0.0, rows[-1][3])), "MiB")


def view_table(plan: Plan, report: Report) -> None:
    """A run in a terminal, against the same run without a view."""
    events = view.EVENTS
    with serving() as server:
        for mix in ("deltas",) if plan.quick else ("deltas", "stream"):
            samples = view.measure(server, mix, plan.rounds)
            _compare(
                report, f"A run in a terminal, mix {mix}, {events:,} events", samples, view.PLAIN, events
            )
            if mix == "deltas":
                report.mark("watch / run_events", ratio(samples, view.OURS, view.PLAIN))


def page_table(plan: Plan, report: Report) -> None:
    """The page of a long run, in a browser."""
    if not page.has_browser():
        print("page: skipped, there is no Chromium here", file=sys.stderr)
        return
    figures = page.measure(3 if plan.quick else plan.rounds)
    title = f"Page of {page.EVENTS:,} events"
    report.table(title, ("", "measured"), [(name, spread(values)) for name, values in figures.items()])
    report.mark("page of 100,000 events, opening", spread(figures["opening, wall s"]), "s")


def nodes_table(plan: Plan, report: Report) -> None:
    """A run of many nodes, against one of a fifth of them."""
    few, many = f"{nodes.FEW:,}", f"{nodes.MANY:,}"
    for name, samples in nodes.measure(2 if plan.quick else plan.rounds).items():
        costs = {few: per_event(samples[few], nodes.FEW), many: per_event(samples[many], nodes.MANY)}
        report.table(f"A run of many nodes: {name}", ("nodes", "CPU µs a node"), list(costs.items()))
        growth = ratio(samples, many, few)
        scale = nodes.MANY / nodes.FEW
        per_node = Spread(growth.median / scale, growth.low / scale, growth.high / scale)
        report.mark(f"{name}, a node of {many} / of {few}", per_node)


def import_table(plan: Plan, report: Report) -> None:
    """A new interpreter with and without rxruns."""
    statements = {
        "rxruns": "from rxruns import block_on, ops, run_events",
        "its four libraries": LIBRARIES,
        "nothing": "pass",
    }
    seconds: dict[str, list[float]] = {name: [] for name in statements}
    for number in range(plan.rounds + 1):
        for name, statement in statements.items():
            cost = import_seconds(statement)
            if number:  # the first one compiles
                seconds[name].append(cost)
    report.table(
        "Import, CPU", ("", "ms"), [(name, spread([s * 1e3 for s in cost])) for name, cost in seconds.items()]
    )
    report.mark(
        "import ops and run_events / its four libraries",
        spread(
            [
                ours / theirs
                for ours, theirs in zip(seconds["rxruns"], seconds["its four libraries"], strict=True)
            ]
        ),
    )


def _compare(
    report: Report, title: str, samples: Mapping[str, Sequence[Sample]], ours: str, events: int
) -> None:
    rows = [
        (
            name,
            per_event(mine, events),
            per_event(mine, events, "wall"),
            ratio(samples, name, ours),
            ratio(samples, name, ours, "wall"),
        )
        for name, mine in samples.items()
    ]
    report.table(title, _COLUMNS, rows)


def _point(value: float) -> Spread:
    return Spread(value, value, value)
