"""The markers of the simulated model, and its linear time for every prompt."""

from __future__ import annotations

import pytest

from rxruns.devserver._model import ModelFault, call_tools, reply, rounds
from tests.test_devserver.conftest import Api, llm, workflow

MANY = 200_000


def text_of(prompt: str) -> str:
    return reply(0, "gpt-4o", prompt).text


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("[[say: good morning]]", "good morning"),
        ("before [[say:x]] after", "x"),
        ("[[say:]]", ""),
        ("[[say: two\nlines]]", "two\nlines"),
        ('[[say: [["a"], ["b", [1]]] ]]', '[["a"], ["b", [1]]]'),
        ("[[say: [1, [2]]]]", "[1, [2]]"),
        ("[[say: a]] [[say: b]]", "a]] [[say: b"),  # to the last brackets
        ("[[say: [[fail: x]]", "[[fail: x"),
    ],
)
def test_the_text_of_a_marker_ends_at_the_last_brackets(prompt: str, text: str) -> None:
    assert text == text_of(prompt)


@pytest.mark.parametrize(
    "prompt", ["[[say: x", "[[say x]]", "[say: x]", "[[sing: x]]", "]] [[fail: x", "[[fail:]"]
)
def test_what_is_not_a_marker_is_an_ordinary_prompt(prompt: str) -> None:
    assert text_of(prompt).endswith(".")


def test_numbers_of_a_marker_are_bounded_and_others_are_ignored() -> None:
    assert 3 == rounds("[[rounds: 3]]")
    assert 1_000_000 == rounds("[[rounds: 99999999999]]") == rounds(f"[[rounds: {'9' * 5000}]]")
    assert [1, 1, 1] == [rounds(f"[[rounds: {text}]]") for text in ("", "-3", "two")]


PROMPTS = {
    "markers without an end": "[[fail:" * MANY,
    "ends before a marker": "]]" * MANY + "[[say: x",
    "ends after a marker": "[[say: x" + "]]" * MANY,
    "brackets": "[" * MANY,
    "colons": "[[say:" + ":" * MANY,
    "blanks": " " * MANY + "x" + " " * MANY,
    "braces": "{{" * MANY,
    "placeholders without an end": "{{ a" * MANY,
    "a placeholder of blanks": "{{" + " " * MANY,
    "a placeholder of letters": "{{" + "a" * MANY,
}


@pytest.mark.parametrize("what", PROMPTS)
def test_a_prompt_is_read_in_linear_time(what: str) -> None:
    prompt = PROMPTS[what]  # quadratic would be hours
    assert reply(0, "gpt-4o", prompt).tokens or "ends after" in what
    calls, _ = call_tools(0, "gpt-4o", prompt, 0, [{"name": "user_ask"}, {"name": "add"}])
    assert (2, 1) == (len(calls), rounds(prompt))


@pytest.mark.parametrize("what", PROMPTS)
def test_a_run_with_such_a_prompt_ends(api: Api, what: str) -> None:
    run_id = api.start(workflow(llm("a", PROMPTS[what])))
    assert "run_completed" == api.events(run_id)[-1]["type"]


@pytest.mark.parametrize(("prompt", "model"), [("[[fail: no luck]]", "gpt-4o"), ("hello", "sim-fail")])
def test_a_model_fails_on_request(prompt: str, model: str) -> None:
    with pytest.raises(ModelFault):
        reply(0, model, prompt)
