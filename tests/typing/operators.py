"""Typed uses of the operators: checked by mypy and pyright, never run."""

from collections.abc import Callable
from pathlib import Path
from typing import assert_type
from uuid import UUID

from reactivex import Observable

from rxruns import RetryPolicy, RunNotFollowed, block_on
from rxruns import operators as ops
from rxruns.costs import CostTotals, Price, fold
from rxruns.cursors import CursorStore, MemoryCursors, SqliteCursors
from rxruns.events import (
    NodeEvent,
    NodeFailed,
    NodeOutputDelta,
    NodeStarted,
    NodeSucceeded,
    RunEvent,
    RunFailed,
)
from rxruns.folds import By, Folded, Window
from rxruns.operators import NodeEvents, Overdue
from rxruns.ops import cost_totals, for_node, share
from rxruns.ops import filter as only
from rxruns.state import NodeText, RunState


def lambdas(source: Observable[RunEvent], deltas: Observable[NodeOutputDelta]) -> None:
    assert_type(source.pipe(ops.filter(lambda event: event.seq > 3)), Observable[RunEvent])
    assert_type(source.pipe(ops.filter(lambda event: isinstance(event, NodeStarted))), Observable[RunEvent])
    assert_type(deltas.pipe(ops.filter(lambda event: event.delta.text_delta)), Observable[NodeOutputDelta])
    assert_type(
        deltas.pipe(ops.tap(lambda event: print(event.delta.text_delta))), Observable[NodeOutputDelta]
    )
    assert_type(deltas.pipe(ops.do_action(lambda event: print(event.delta))), Observable[NodeOutputDelta])
    assert_type(source.pipe(ops.tap(on_completed=lambda: print("done"))), Observable[RunEvent])
    assert_type(
        source.pipe(ops.take_while(lambda event: event.seq < 9, inclusive=True)), Observable[RunEvent]
    )
    assert_type(
        deltas.pipe(ops.take(3), ops.first(lambda event: event.delta.text_delta)), Observable[NodeOutputDelta]
    )


def maps(source: Observable[RunEvent], deltas: Observable[NodeOutputDelta]) -> None:
    assert_type(deltas.map(lambda event: event.delta.text_delta), Observable[str | None])
    lengths: Observable[int] = source.pipe(ops.map(lambda event: len(str(event.seq))))
    lengths.pipe(ops.max())
    texts: Observable[str | None] = deltas.pipe(ops.map(lambda event: event.delta.text_delta))
    texts.pipe(ops.filter(lambda text: text), ops.map(lambda text: text or ""), ops.last())

    def seq(event: RunEvent) -> int:
        return event.seq

    assert_type(deltas.pipe(ops.map(seq)), Observable[int])


def single_ones(source: Observable[RunEvent], deltas: Observable[NodeOutputDelta]) -> None:
    assert_type(source.pipe(cost_totals()), Observable[CostTotals])
    late = deltas.pipe(for_node("draft"), only(lambda event: event.seq > 3), share())
    assert_type(late, Observable[NodeOutputDelta])


def a_default_removes_none(source: Observable[RunEvent], texts: Observable[str]) -> None:
    assert_type(block_on(source), RunEvent | None)
    assert_type(block_on(texts, default=""), str)
    assert_type(block_on(source, default=0), RunEvent | int)


def a_step_of_its_own(source: Observable[RunEvent]) -> None:
    late = ops.filter(lambda event: event.seq > 3)
    assert_type(source.pipe(late), Observable[RunEvent])

    def is_first(event: RunEvent) -> bool:
        return event.seq == 1

    assert_type(source.pipe(ops.filter(is_first)), Observable[RunEvent])


def classes(source: Observable[RunEvent], nodes: Observable[NodeEvent]) -> None:
    assert_type(source.pipe(ops.of_type(NodeOutputDelta)), Observable[NodeOutputDelta])
    assert_type(nodes.pipe(ops.of_type(NodeOutputDelta)), Observable[NodeOutputDelta])
    assert_type(source.pipe(ops.of_type(NodeStarted, RunFailed)), Observable[NodeStarted | RunFailed])
    assert_type(
        source.pipe(ops.of_type(NodeStarted, NodeFailed, NodeSucceeded)),
        Observable[NodeStarted | NodeFailed | NodeSucceeded],
    )
    assert_type(
        source.pipe(ops.of_type(NodeStarted, NodeFailed, NodeSucceeded, RunFailed)),
        Observable[NodeStarted | NodeFailed | NodeSucceeded | RunFailed],
    )


def the_elements_type_stays(deltas: Observable[NodeOutputDelta], store: CursorStore) -> None:
    assert_type(
        deltas.pipe(
            ops.for_node("draft"),
            ops.filter(lambda event: event.delta.kind == "message_delta"),
            ops.raise_on_failure(),
            ops.record("run.ndjson", fsync=True),
            ops.checkpoint(store),
            ops.take(3),
        ),
        Observable[NodeOutputDelta],
    )


def buffers(source: Observable[RunEvent], deltas: Observable[NodeOutputDelta]) -> None:
    assert_type(source.pipe(ops.buffer_until_complete()), Observable[list[RunEvent]])
    assert_type(deltas.pipe(ops.buffer_until_complete()), Observable[list[NodeOutputDelta]])
    assert_type(source.pipe(ops.buffer_nodes()), Observable[NodeEvents])
    assert_type(
        source.pipe(ops.for_node("a"), ops.buffer_nodes(), ops.filter(lambda node: len(node.events) > 3)),
        Observable[NodeEvents],
    )


def folds(source: Observable[RunEvent], events: list[NodeEvent]) -> None:
    prices = {("openai", "gpt-5"): Price("1.25", 10), ("openai", "small"): Price(0.15, 0.6)}
    assert_type(source.pipe(ops.cost_totals()), Observable[CostTotals])
    assert_type(
        source.pipe(ops.cost_totals(prices, initial=CostTotals()), ops.last()), Observable[CostTotals]
    )
    assert_type(fold(events, prices) + fold(events), CostTotals)


def stores(run_id: UUID) -> None:
    named: list[CursorStore] = [MemoryCursors(), SqliteCursors("cursors.db")]
    for store in named:
        store.set(run_id, store.get(str(run_id)) + 1)


operator: Callable[[Observable[RunEvent]], Observable[NodeOutputDelta]] = ops.of_type(NodeOutputDelta)


def length(text: NodeText) -> int:
    return len(text.text)


def seven_in_a_row(source: Observable[RunEvent], store: CursorStore) -> None:
    lengths = source.pipe(
        ops.raise_on_failure(),
        ops.for_node("draft"),
        ops.of_type(NodeOutputDelta),
        ops.filter(lambda event: event.delta.kind == "message_delta"),
        ops.checkpoint(store),
        ops.text(),
        ops.map(length),
    )
    assert_type(lengths, Observable[int])


def folded(source: Observable[RunEvent]) -> None:
    assert_type(source.pipe(ops.fold(CostTotals())), Observable[Folded[CostTotals]])
    by_node = source.pipe(ops.fold(By("node_id", CostTotals())), ops.last())
    assert_type(by_node, Observable[Folded[By[str | None, CostTotals]]])
    assert_type(source.pipe(ops.each_run(ops.run_state(), ops.last())), Observable[RunState])
    assert_type(source.pipe(ops.each_run(ops.text())), Observable[NodeText])


def windows(source: Observable[RunEvent]) -> None:
    assert_type(source.pipe(ops.fold_windows(CostTotals(), 60)), Observable[Window[CostTotals]])


def sinks(source: Observable[RunEvent], deltas: Observable[NodeOutputDelta], store: CursorStore) -> None:
    """The type of the events stays, whatever the function takes."""

    def sink(event: RunEvent) -> None: ...

    def put_aside(event: RunEvent, error: Exception) -> None: ...

    assert_type(source.pipe(ops.handle(sink)), Observable[RunEvent])
    assert_type(deltas.pipe(ops.handle(sink)), Observable[NodeOutputDelta])
    assert_type(deltas.pipe(ops.handle(lambda event: print(event.seq))), Observable[NodeOutputDelta])
    once = RetryPolicy(max_attempts=1)
    assert_type(
        deltas.pipe(ops.handle(sink, retry=once, dead_letter=Path("dead.ndjson")), ops.checkpoint(store)),
        Observable[NodeOutputDelta],
    )
    assert_type(source.pipe(ops.handle(sink, dead_letter=put_aside)), Observable[RunEvent])
    assert_type(source.pipe(ops.handle(sink, dead_letter=lambda event, error: None)), Observable[RunEvent])


def silences(source: Observable[RunEvent], emitted: Observable[RunEvent | RunNotFollowed]) -> None:
    """Runs that can't be followed need not be taken out before."""
    assert_type(source.pipe(ops.overdue(60)), Observable[Overdue])
    assert_type(emitted.pipe(ops.overdue(60, of="node")), Observable[Overdue])
