"""Each example runs as a script and says what its first lines promise."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

EXPECTED = {
    "alert_on_waiting": ["node ask has been waiting for 0.1 s"],
    "budget_guard": ["run_completed", "the limit is 0.05; 4 calls of 8"],
    "buffer_until_complete": ["pro: 19 events, from node_started", "the last is run_completed"],
    "checkpointed_consumer": ["the first life\n1 run_compiled", "the second life\n5 ", "14 run_completed"],
    "compare_models": ["."],
    "cost_of_several_runs": [
        "anthropic/claude-sonnet-4-5: 5 calls",
        "together 10",
        "the service, in whole cents: $0.",
    ],
    "cost_on_a_cluster": ["from the service: 80 calls, ", "from four logs: 80 calls, "],
    "errors_handled": ["reads {{topci}}", "$.nodes[0].model", "NOT_FOUND", "out of ideas", "any of them"],
    "follow_a_fleet": ["claude-sonnet-4-5: 20 calls, ", "gpt-4o: 20 calls, "],
    "filter_one_node": ["Because every a find"],
    "live_text_of_two_nodes": ["look short fast advice every while so.\n", "edge beats every two and. | "],
    "logs_to_parquet": ["claude-sonnet-4-5: 10 calls, 9000 tokens written\ngpt-4o: 10 calls, "],
    "relay_asyncio": ["id: 1\nevent: run_compiled\ndata: {", "event: run_completed\ndata: {"],
    "run_from_plan": ["succeeded: Hello, Ada!", "succeeded: Hello, Grace!"],
    "slowest_nodes": ["  long  ", "50 runs, the slowest node of all took "],
    "tools_by_hand": ['asks for {"a": 6, "b": 6}: 12', "run_completed"],
    "tools_with_retries": ["attempt 1: no route\nattempt 2: reset by peer\nthe model hears: fair in "],
}

NEEDS = {"cost_on_a_cluster": "distributed", "logs_to_parquet": "duckdb"}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_does_what_it_says(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"pip install {NEEDS[name]}, or the extra dev")
    monkeypatch.setattr("sys.argv", [name])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for words in EXPECTED[name]:
        assert words in printed


def test_no_example_is_left_out() -> None:
    # Those that are tests are run by pytest: see test_testing/test_plugin.py.
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert {name for name in names if not name.startswith("test_")} == set(EXPECTED)


def test_examples_are_short_enough_to_read_at_once() -> None:
    assert [
        path.name for path in EXAMPLES.glob("*.py") if len(path.read_text("utf-8").splitlines()) > 60
    ] == []
