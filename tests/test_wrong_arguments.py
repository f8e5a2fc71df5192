"""Wrong arguments are refused by name where they are passed, with an error of rxruns."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import reactivex

from rxruns import (
    RetryPolicy,
    RunsClient,
    aio,
    block_on,
    iterate,
    merge_runs,
    ops,
    recorded_events,
    run_events,
    start_run,
)
from rxruns.charts import save
from rxruns.cursors import MemoryCursors, SqliteCursors
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import (
    CloseAfter,
    CutAt,
    CutRandomly,
    Delay,
    InvalidLine,
    Replay,
    Silence,
    SplitBytes,
)
from rxruns.errors import InvalidArgumentError
from rxruns.page import write_page
from rxruns.workflow import WorkflowSpec, chain, llm

RUN = UUID(int=1)
KEY = "mr_sk_test"


def scripted(run_id: Any) -> object:
    with DevServer() as server:
        return server.script(run_id)


def served_file(log: Any) -> object:
    with DevServer() as server:
        return server.serve_log(log)


def served(log: Any) -> object:
    with DevServer() as server:
        return server.serve_log([log])


@pytest.mark.parametrize(
    "field, call",
    [
        ("resume", lambda wrong: run_events(RUN, resume=wrong)),
        ("on_lifecycle", lambda wrong: run_events(RUN, on_lifecycle=wrong)),
        ("on_invalid", lambda wrong: run_events(RUN, on_invalid=wrong)),
        ("wait", lambda wrong: run_events(RUN, wait=wrong)),
        ("include_output", lambda wrong: run_events(RUN, include_output=wrong)),
        ("client", lambda wrong: run_events(RUN, client=wrong)),
        ("client", lambda wrong: start_run("0" * 64, client=wrong)),
        ("client", lambda wrong: merge_runs([RUN], client=wrong)),
        ("source", block_on),
        ("source", iterate),
        ("source", aio.iterate),
        ("path", recorded_events),
        ("path", ops.record),
        ("path", SqliteCursors),
        ("busy_timeout", lambda wrong: SqliteCursors("cursors.db", busy_timeout=-wrong)),
        ("store", ops.checkpoint),
        ("prices", ops.cost_totals),
        ("prices", lambda wrong: ops.budget(1, wrong)),
        ("initial", lambda wrong: ops.cost_totals(initial=wrong)),
        ("initial", ops.run_state),
        ("client", lambda wrong: ops.execute_tools({}, client=wrong)),
        ("answer", lambda wrong: ops.execute_tools({}, answer=wrong)),
        ("on_dropped", lambda wrong: ops.handoff(1, on_dropped=wrong)),
        ("tools", ops.execute_tools),
        ("tools[0]", lambda wrong: llm("draft", user="Hi", tools=[wrong])),
        ("inputs[0]", lambda wrong: chain(llm("draft", user="Hi"), inputs=[wrong])),
        ("session", lambda wrong: RunsClient(api_key=KEY, session=wrong)),
        ("include", lambda wrong: RunsClient(api_key=KEY).get(RUN, include=wrong)),
        ("faults", lambda wrong: DevServer(faults=wrong)),
        ("script", Faults),
        ("script", lambda wrong: Faults([wrong])),
        ("rest", lambda wrong: Faults(rest=wrong)),
        ("at", lambda wrong: CutAt(-wrong)),
        ("how", lambda wrong: CutAt(0, wrong)),
        ("most", lambda wrong: CutRandomly(wrong, wrong - 1)),
        ("how", lambda wrong: CutRandomly(how=[wrong])),
        ("events", lambda wrong: CloseAfter(-wrong)),
        ("after_events", lambda wrong: Silence(-wrong)),
        ("seconds", lambda wrong: Silence(seconds=-wrong)),
        ("size", lambda wrong: SplitBytes(wrong - 5)),
        ("events", lambda wrong: Replay(str(wrong))),  # type: ignore[arg-type]
        ("per_event", lambda wrong: Delay(-wrong)),
        ("before_status", lambda wrong: Delay(before_status=-wrong)),
        ("after_events", lambda wrong: InvalidLine(-wrong)),
        ("otherwise", lambda wrong: Faults(otherwise=wrong)),
        ("run_id", scripted),
        ("log", served),
        ("spec", WorkflowSpec.from_dict),
        ("run_id", MemoryCursors().get),
        ("capacity", lambda wrong: iterate(reactivex.never(), capacity=str(wrong))),  # type: ignore[arg-type]
        ("directory", lambda wrong: DevServer(directory=wrong)),
        ("port", lambda wrong: DevServer(port=-wrong)),
        ("delay", lambda wrong: DevServer(delay=str(wrong))),  # type: ignore[arg-type]
    ],
)
def test_an_argument_of_another_kind_is_refused_by_name(field: str, call: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(field)) as refused:
        call(5)
    assert field == refused.value.field


class BytesPath:
    """A path that is not text."""

    def __fspath__(self) -> bytes:
        return b"run.ndjson"

    def __repr__(self) -> str:
        return "BytesPath()"


@pytest.mark.parametrize("path", ["a\0b.html", "", "\ud800.html", BytesPath()], ids=ascii)
@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("path", recorded_events),
        ("path", ops.record),
        ("path", SqliteCursors),
        ("path", lambda path: write_page(path, [])),
        ("path", lambda path: save(None, path)),
        ("directory", lambda path: DevServer(directory=path)),
        ("log", served_file),
    ],
)
def test_an_invalid_path_is_refused_by_name(field: str, call: Callable[[Any], object], path: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{field} must be ") as refused:
        call(path)
    assert field == refused.value.field


@pytest.mark.parametrize("number", [2**63, 10**5_000, -(10**5_000)], ids=["64 bits", "huge", "below 0"])
@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("after_seq", lambda number: run_events(RUN, after_seq=number)),
        ("limit", lambda number: run_events(RUN, limit=number)),
        ("seq", lambda number: MemoryCursors().set(RUN, number)),
        ("max_attempts", lambda number: RetryPolicy(max_attempts=number)),
        ("base_backoff", lambda number: RetryPolicy(base_backoff=number * 10**300)),
        ("timeout", lambda number: RunsClient(api_key=KEY, timeout=number * 10**300)),
    ],
)
def test_a_number_beyond_all_bounds_is_refused_by_name(
    field: str, call: Callable[[int], object], number: int
) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{field} ") as refused:
        call(number)
    assert field == refused.value.field
