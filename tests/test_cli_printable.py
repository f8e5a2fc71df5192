"""What runs say is shown, never obeyed."""

from __future__ import annotations

import json
import re
from unicodedata import category

from hypothesis import given
from hypothesis import strategies as st

from rxruns.cli._printable import printable, printable_json


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) <= len(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_what_can_be_seen_is_left_as_it_is(text: str) -> None:
    visible = "".join(char for char in text if char.isprintable())
    assert visible == printable(visible)


def test_escape_sequences_are_shown_without_their_escape() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J[bold]fat[/bold]\r\nnext\u202e\x9b31m"
    assert "�]0;owned��[2J[bold]fat[/bold] next��31m" == printable(hostile)


def test_blanks_of_all_kinds_are_spaces() -> None:
    assert "a b c d e f" == printable("a\tb\u00a0c\u2028d\x85e\r\nf")


def test_a_stack_of_marks_does_not_leave_its_line() -> None:
    assert "Z" + "\u0317" * 4 + "algo" == printable("Z" + "\u0317" * 500 + "algo")
    assert "שָׁלוֹם, cafe\u0301, ก็้" == printable("שָׁלוֹם, cafe\u0301, ก็้")


@given(st.text())
def test_json_means_the_same_and_obeys_nothing(text: str) -> None:
    line = json.dumps({"text": text}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if re.search("[\ud800-\udfff]", text):
        return  # no line of a run: UTF-8 has none of them
    shown = printable_json(line)

    assert json.loads(line) == json.loads(shown)
    assert not [char for char in shown.decode() if category(char) in ("Cc", "Cf", "Zl", "Zp")]
