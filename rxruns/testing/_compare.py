"""The comparison of two runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct

from rxruns import operators as ops
from rxruns._arguments import check_flag, check_kind
from rxruns._display._text import counted
from rxruns._streams._recorded import recorded_events
from rxruns._streams._run_events import block_on
from rxruns.costs import CostLineItem, CostTotals, Prices
from rxruns.costs._spent import model_name
from rxruns.errors import RunsError
from rxruns.events import RunEvent
from rxruns.testing._difference import RunDifference, Value
from rxruns.testing._figures import FiguresFold, NodeFigures, RunFigures
from rxruns.testing._limits import Figure, limit

__all__ = ["RunComparison", "compare_runs"]

Events: TypeAlias = Iterable[RunEvent] | str | os.PathLike[str]
"""The events of a run, or the path of its recorded log."""

_COSTS = ("requests", "input_tokens", "output_tokens", "total_tokens", "unmetered", "usd")

_MOST = 20
"""Differences in a text; only the number of the others is given."""


class RunComparison(Struct, frozen=True):
    """Two runs and their differences.

    Attributes:
        before: the first run.
        after: the second run.
    """

    before: RunFigures
    after: RunFigures

    @property
    def differences(self) -> tuple[RunDifference, ...]:
        """The differences, first of the run, then of its nodes and of its models; empty if there are none.

        They cover status, nodes, attempts, the order of tools in each node, and calls, tokens and cost of
        each model. Durations differ each time: :meth:`exceeding` limits them.
        """
        before, after = self.before, self.after
        run = () if before.status == after.status else (RunDifference("status", before.status, after.status),)
        return (*run, *_of_nodes(before.nodes, after.nodes), *_of_models(before.costs, after.costs))

    @property
    def appeared(self) -> tuple[str, ...]:
        """The nodes that only the second run has."""
        return tuple(node_id for node_id in self.after.nodes if node_id not in self.before.nodes)

    @property
    def vanished(self) -> tuple[str, ...]:
        """The nodes that only the first run has."""
        return tuple(node_id for node_id in self.before.nodes if node_id not in self.after.nodes)

    def exceeding(
        self,
        *,
        cost: str | None = None,
        tokens: str | None = None,
        duration: str | None = None,
        status: bool = False,
        nodes: bool = False,
        tools: bool = False,
    ) -> tuple[RunDifference, ...]:
        """Return the differences that violate a limit; empty if there are none.

        A limit is the largest accepted increase: ``"+10%"`` relative to the first run, ``"+500"`` absolute.
        An unknown figure violates it.

        Args:
            cost: of all calls, in US dollars.
            tokens: of all calls, input and output.
            duration: of the run, in seconds.
            status: True: the runs must have the same status.
            nodes: True: the runs must have the same nodes, each with the same status.
            tools: True: each node must call the same tools, in the same order.

        Raises:
            InvalidArgumentError: a limit can't be read.
        """
        found: list[RunDifference] = []
        for name, text, (field, old, new) in zip(
            ("cost", "tokens", "duration"), (cost, tokens, duration), self._figures(), strict=True
        ):
            known = None if text is None else limit(name, text)
            if known is not None and not known.accepts(old, new):
                found.append(RunDifference(field, old, new, limit=known.text))
        same = {"status": status, "nodes": nodes, "tools": tools}
        for name, flag in same.items():
            check_flag(name, flag)
        found += [difference for difference in self.differences if same.get(_kind(difference))]
        return tuple(found)

    def _figures(self) -> Iterator[tuple[str, Figure | None, Figure | None]]:
        before, after = self.before, self.after
        yield "usd", before.costs.usd, after.costs.usd
        yield "total_tokens", before.costs.total_tokens, after.costs.total_tokens
        yield "duration", before.duration, after.duration

    def __str__(self) -> str:
        """Both runs and their differences, a line each, safe to print."""
        return "\n".join(
            [str(self.before), str(self.after), *(listed(self.differences) or ["no differences"])]
        )

    def __repr__(self) -> str:
        return f"<RunComparison with {len(self.differences):,} differences>"


def compare_runs(before: Events, after: Events, *, prices: Prices | None = None) -> RunComparison:
    """Compare two runs: status, nodes, tools, tokens, cost and duration.

    Args:
        before: the events of the first run, or the path of its recorded log. The times of events are their
            ``ts``. A run without its end is compared as far as it is known.
        after: the events of the second run, or the path of its recorded log.
        prices: by (provider, model). None: the cost of each model is unknown.

    Raises:
        InvalidArgumentError: an argument has events of several runs, or none.
        StoreError: a log can't be read.
        StreamProtocolError: a line of a log is not a valid event.

    >>> from rxruns.testing import events
    >>> draft = events.run().node("draft").tool_call("search").tool_result("42")
    >>> comparison = compare_runs(draft.succeeds(), draft.tool_call("fetch").fails())
    >>> for difference in comparison.differences:
    ...     print(difference)
    run: succeeded → failed
    node draft: succeeded → failed
    node draft: tools search, +fetch
    >>> comparison.exceeding(duration="+10%", tools=True)
    (<run: duration 500 ms → 600 ms (+100 ms, +20.0%), limit +10%>, <node draft: tools search, +fetch>)
    """
    return RunComparison(_read(before, prices, "before"), _read(after, prices, "after"))


def listed(differences: tuple[RunDifference, ...]) -> list[str]:
    """Return a line for each of the first differences, and one for the number of the others."""
    lines = [str(difference) for difference in differences[:_MOST]]
    if len(differences) > _MOST:
        lines.append(f"and {counted(len(differences) - _MOST, 'more difference')}")
    return lines


def _read(source: Events, prices: Prices | None, name: str) -> RunFigures:
    fold = FiguresFold(prices, name)
    if isinstance(source, str | os.PathLike):
        try:
            block_on(recorded_events(source).pipe(ops.do_action(fold.add)))
        except RunsError as error:
            error.add_note(f"{name}: {os.fsdecode(source)}")
            raise
    else:
        expectation = "an iterable of events or the path of a log"
        check_kind(name, source, Iterable, expectation)
        for event in source:
            check_kind(name, event, RunEvent, expectation)
            fold.add(event)
    return fold.figures()


def _of_nodes(before: Mapping[str, NodeFigures], after: Mapping[str, NodeFigures]) -> Iterator[RunDifference]:
    old_nodes, new_nodes = dict(before), dict(after)  # faster look-ups
    for node_id in {**old_nodes, **new_nodes}:
        old, new = old_nodes.get(node_id), new_nodes.get(node_id)
        figures: tuple[tuple[str, Value, Value], ...] = (
            ("status", old.status if old else None, new.status if new else None),
            ("attempts", old.attempts if old and new else None, new.attempts if old and new else None),
            ("tools", old.tools if old else (), new.tools if new else ()),
        )
        for field, was, is_now in figures:
            if was != is_now:
                yield RunDifference(field, was, is_now, node_id)


def _of_models(before: CostTotals, after: CostTotals) -> Iterator[RunDifference]:
    old = {(item.provider, item.model): item for item in before.line_items}
    new = {(item.provider, item.model): item for item in after.line_items}
    for key in sorted({*old, *new}):
        empty = CostLineItem(*key)
        for field in _COSTS:
            figures = getattr(old.get(key, empty), field), getattr(new.get(key, empty), field)
            if figures[0] != figures[1]:
                yield RunDifference(field, *figures, model=model_name(*key))


def _kind(difference: RunDifference) -> str:
    """Return the flag of :meth:`RunComparison.exceeding` that a difference belongs to."""
    is_of_node = difference.field == "status" and difference.node_id is not None
    return "nodes" if is_of_node else difference.field
