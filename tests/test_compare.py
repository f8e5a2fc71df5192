"""``compare_runs``: the differences of two runs, and limits on them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rxruns import Price
from rxruns.errors import InvalidArgumentError, StoreError, StreamProtocolError
from rxruns.events import RunEvent
from rxruns.testing import RunComparison, RunDifference, RunLog, compare_runs, events
from rxruns.testing._limits import limit
from tests.making import OTHER_RUN, RUN

PRICES = {("openai", "gpt-5"): Price(3, 15)}
STATED = events.run().node("draft").llm_call(input_tokens=1_000, output_tokens=100)

_NODES = st.sampled_from(["draft", "edit", "each_one_0"])
_STEPS = st.one_of(
    st.tuples(st.just("text"), st.text()),
    st.tuples(st.just("tool_call"), st.sampled_from(["search", "fetch", "search\x1b[2J"])),
    st.tuples(st.just("asks"), st.just("really?")),
    st.tuples(
        st.just("llm_call"),
        st.sampled_from(["gpt-5", "gpt-5-mini", None]),
        st.sampled_from(["openai", None]),
        st.none() | st.integers(0, 2**40),
    ),
    st.tuples(st.just("after"), st.floats(0, 10_000)),
    st.tuples(st.just("node_fails")),
    st.tuples(st.just("node_succeeds")),
)
_ENDS = st.sampled_from(["succeeds", "fails", "is_canceled", ""])


@st.composite
def runs(draw: st.DrawFn) -> RunLog:
    """Draw a run, finished or not, whose nodes may be tried again."""
    log = events.run(draw(st.sampled_from([RUN, OTHER_RUN])))
    for node_id, (step, *arguments) in draw(st.lists(st.tuples(_NODES, _STEPS), max_size=12)):
        log = log.node(node_id)
        if step == "llm_call":
            model, provider, tokens = arguments
            log = log.llm_call(model, provider, input_tokens=tokens, output_tokens=tokens)
        else:
            log = getattr(log, step)(*arguments)
    end = draw(_ENDS)
    return getattr(log, end)() if end else log


def swapped(difference: RunDifference) -> RunDifference:
    return replace(difference, before=difference.after, after=difference.before)


@given(runs())
def test_a_run_has_no_difference_from_itself_and_exceeds_no_limit_on_a_known_figure(log: RunLog) -> None:
    found = compare_runs(log, log, prices=PRICES)
    cost = None if found.before.costs.usd is None else "+0%"

    assert () == found.differences
    assert () == found.exceeding(cost=cost, tokens="+0", duration="+0%", status=True, nodes=True, tools=True)
    assert str(found).endswith("\nno differences")


@given(runs(), runs())
def test_swapping_two_runs_swaps_what_appeared_and_vanished_and_negates_increases(
    one: RunLog, other: RunLog
) -> None:
    there, back = compare_runs(one, other, prices=PRICES), compare_runs(other, one, prices=PRICES)

    assert set(there.differences) == {swapped(difference) for difference in back.differences}
    assert (set(there.appeared), set(there.vanished)) == (set(back.vanished), set(back.appeared))
    for difference in there.differences:
        increase, decrease = difference.increase, swapped(difference).increase
        assert increase is decrease is None or increase == -(decrease or 0)


@given(runs(), runs())
def test_the_text_of_a_comparison_is_short_and_safe_to_print(one: RunLog, other: RunLog) -> None:
    found = compare_runs(one, other)
    lines = str(found).split("\n")

    assert all(line.isprintable() and len(line) < 400 for line in lines)
    assert len(lines) <= 23


@given(runs(), runs())
def test_a_comparison_can_be_pickled(one: RunLog, other: RunLog) -> None:
    found = compare_runs(one, other)
    assert found == pickle.loads(pickle.dumps(found))


@given(runs())
def test_a_log_file_and_repeated_events_compare_like_the_events(log: RunLog) -> None:
    assert () == compare_runs([*log, *log], iter(log)).differences
    assert compare_runs(log, log) == compare_runs([*log, *log], log)


def test_the_path_of_a_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.ndjson"
    path.write_bytes(STATED.succeeds().ndjson())
    for given_path in (path, str(path)):
        assert () == compare_runs(given_path, STATED.succeeds()).differences


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (STATED.fails(), ["run: succeeded → failed", "node draft: succeeded → failed"]),
        (STATED.node("edit").succeeds(), ["node edit: appeared, succeeded"]),
        (STATED, ["run: succeeded → running", "node draft: succeeded → running"]),
        (STATED.node_fails().node("draft").succeeds(), ["node draft: attempts 1 → 2"]),
        (
            STATED.tool_call("search").asks("really?").succeeds(),
            ["node draft: tools +search, +user_ask"],
        ),
        (
            STATED.llm_call(input_tokens=500, output_tokens=0).succeeds(),
            [
                "openai/gpt-5: requests 1 → 2 (+1, +100.0%)",
                "openai/gpt-5: input tokens 1,000 → 1,500 (+500, +50.0%)",
                "openai/gpt-5: total tokens 1,100 → 1,600 (+500, +45.5%)",
                "openai/gpt-5: cost $0.004500 → $0.006000 (+$0.001500, +33.3%)",
            ],
        ),
        (
            STATED.llm_call("gpt-6", input_tokens=1, output_tokens=0).succeeds(),
            [
                "openai/gpt-6: requests 0 → 1 (+1)",
                "openai/gpt-6: input tokens 0 → 1 (+1)",
                "openai/gpt-6: total tokens 0 → 1 (+1)",
                "openai/gpt-6: cost $0.00 → unknown",
            ],
        ),
        (STATED.after(60).succeeds(), []),
    ],
)
def test_a_difference_is_one_line(after: RunLog, expected: list[str]) -> None:
    found = compare_runs(STATED.succeeds(), after, prices=PRICES)

    assert expected == [str(difference) for difference in found.differences]
    assert f"[{', '.join(f'<{text}>' for text in expected)}]" == str(list(found.differences))


def test_the_order_of_tools_is_compared_in_each_node() -> None:
    log = events.run().node("draft").node("edit")
    one = log.node("draft").tool_call("a").tool_call("b").node("edit").tool_call("c")
    same = log.node("edit").tool_call("c").node("draft").tool_call("a").tool_call("b")
    other = log.node("draft").tool_call("b").tool_call("a").node("edit").tool_call("c")

    assert () == compare_runs(one, same).differences
    assert ["node draft: tools +b, a, -b"] == list(map(str, compare_runs(one, other).differences))


def test_figures_are_those_of_the_run_and_of_each_node() -> None:
    log = events.run(every=1.0).node("draft").llm_call(input_tokens=10, output_tokens=1).node_fails()
    log = log.node("draft").tool_call("search").node("edit").succeeds()
    run = compare_runs(log, log).before
    draft, edit = run.nodes.values()

    assert (RUN, "succeeded", 9.0) == (run.run_id, run.status, run.duration)
    assert ("draft", "succeeded", 2, 6.0, 11, ("search",)) == (
        draft.node_id,
        draft.status,
        draft.attempts,
        draft.duration,
        draft.costs.total_tokens,
        draft.tools,
    )
    assert ("edit", 1, 2.0, 0) == (edit.node_id, edit.attempts, edit.duration, edit.costs.requests)


def test_an_open_run_lasts_until_its_last_event_and_one_without_a_start_for_an_unknown_time() -> None:
    log = events.run(every=1.0).node("draft").text("Hi ", "there")
    found = compare_runs([*log, *log], log[3:])
    open_run, late = found.before, found.after

    assert ("running", 3.0, 2.0) == (open_run.status, open_run.duration, open_run.nodes["draft"].duration)
    assert ("running", None, None) == (late.status, late.duration, late.nodes["draft"].duration)


SMALL = events.run(every=1.0).node("draft").llm_call(input_tokens=100, output_tokens=0)
BEFORE = SMALL.succeeds()
TWO_RUNS = BEFORE.ndjson() + events.run(OTHER_RUN).ndjson()
AFTER = SMALL.llm_call(input_tokens=10, output_tokens=0).succeeds()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"tokens": "+10%"}, []),
        ({"tokens": "+9.99%"}, ["run: total tokens 100 → 110 (+10, +10.0%), limit +9.99%"]),
        ({"tokens": "+10"}, []),
        ({"tokens": "+9"}, ["run: total tokens 100 → 110 (+10, +10.0%), limit +9"]),
        ({"cost": "+0.00003"}, []),
        ({"cost": "+0.00002"}, ["run: cost $0.000300 → $0.000330 (+$0.000030, +10.0%), limit +0.00002"]),
        ({"duration": "+1"}, []),
        ({"duration": "+10%"}, ["run: duration 4.0 s → 5.0 s (+1.0 s, +25.0%), limit +10%"]),
        ({"status": True, "nodes": True, "tools": True}, []),
        ({}, []),
    ],
)
def test_a_limit_is_exceeded_by_a_larger_increase_alone(limits: Any, expected: list[str]) -> None:
    found = compare_runs(BEFORE, AFTER, prices=PRICES).exceeding(**limits)
    assert expected == [str(difference) for difference in found]


def test_a_decrease_exceeds_no_limit() -> None:
    found = compare_runs(AFTER, BEFORE, prices=PRICES)
    assert () == found.exceeding(cost="+0", tokens="+0%", duration="+0")


def test_each_flag_selects_its_differences() -> None:
    found = compare_runs(STATED.succeeds(), STATED.tool_call("search").node("edit").fails())
    fields = {
        name: [(difference.field, difference.node_id) for difference in found.exceeding(**{name: True})]
        for name in ("status", "nodes", "tools")
    }
    assert {
        "status": [("status", None)],
        "nodes": [("status", "draft"), ("status", "edit")],
        "tools": [("tools", "draft")],
    } == fields


def test_an_unknown_figure_exceeds_each_limit() -> None:
    found = compare_runs(STATED, STATED[3:]).exceeding(cost="+999%", duration="+999%")
    assert [
        "run: cost unknown → unknown, limit +999%",
        "run: duration 200 ms → unknown, limit +999%",
    ] == list(map(str, found))


@given(st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)), st.integers(0, 500))
def test_a_relative_limit_is_exact_in_decimal_numbers(before: float, percent: int) -> None:
    allowed = Decimal(str(before)) * (100 + percent) / 100
    slightly_more = allowed + Decimal("0.000000001")

    assert limit("cost", f"+{percent}%").accepts(Decimal(str(before)), allowed)
    assert not limit("cost", f"+{percent}%").accepts(Decimal(str(before)), slightly_more)


@pytest.mark.parametrize("text", ["10%", "-10%", "+", "+%", "+1e3", "+ 5", "+٥", "+inf", "", "+1%%", 5, True])
def test_a_limit_that_is_not_an_increase_is_refused(text: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        compare_runs(BEFORE, AFTER).exceeding(tokens=text)
    assert f"tokens must be an increase such as '+10%' or '+500', got {text!r}" == str(caught.value)
    assert "tokens" == caught.value.field


@pytest.mark.parametrize("name", ["status", "nodes", "tools"])
def test_a_flag_that_is_not_a_bool_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{name} must be a bool, got 1$"):
        compare_runs(BEFORE, AFTER).exceeding(**{name: 1})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "after must be the events of a run, got no event"),
        (
            [*BEFORE, *events.run(OTHER_RUN)],
            f"after must be the events of one run, got events of run {RUN} and of run {OTHER_RUN}; "
            "select those of one run_id",
        ),
        (7, "after must be an iterable of events or the path of a log, got 7"),
        (["event"], "after must be an iterable of events or the path of a log, got 'event'"),
    ],
)
def test_other_arguments_are_refused(source: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        compare_runs(BEFORE, source)
    assert (message, "after") == (str(caught.value), caught.value.field)


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda path: None, StoreError),
        (lambda path: path.mkdir(), StoreError),
        (lambda path: path.write_bytes(b"{}\n"), StreamProtocolError),
        (
            lambda path: path.write_bytes(BEFORE.ndjson() + events.run(OTHER_RUN).ndjson()),
            InvalidArgumentError,
        ),
    ],
)
def test_a_log_that_cannot_be_read_is_a_typed_error_with_the_name_of_the_file(
    tmp_path: Path, write: Callable[[Path], Any], error: type[Exception]
) -> None:
    write(path := tmp_path / "run.ndjson")
    with pytest.raises(error) as caught:
        compare_runs(BEFORE, path)
    assert [f"after: {path}"] == caught.value.__notes__


def test_an_empty_log_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "run.ndjson").write_bytes(b"")
    with pytest.raises(InvalidArgumentError, match="^before must be the events of a run, got no event$"):
        compare_runs(path, BEFORE)


def test_many_nodes_and_tools_make_a_short_text() -> None:
    log = events.run()
    for number in range(40):
        log = log.node(f"each_one_{number}")
    many = log.node("each_one_0")
    for _ in range(150):
        many = many.event(type(_tool()), tool_call=_tool().tool_call)

    assert "and 21 more differences" == str(compare_runs(events.run(), many)).split("\n")[-1]
    assert "tools 0 calls → 150 calls, not the same" in str(compare_runs(log, many))


def _tool() -> Any:
    return events.run().node("each_one_0").tool_call("search")[-1]


def test_the_texts_of_nodes_are_not_kept() -> None:
    log: list[RunEvent] = list(events.run().node("draft").text("a secret text"))
    assert b"a secret text" not in pickle.dumps(compare_runs(log, log))


def test_a_comparison_is_shown_by_pytest_in_a_few_words() -> None:
    found: RunComparison = compare_runs(STATED.succeeds(), STATED.fails())
    assert "<RunComparison with 2 differences>" == repr(found)
