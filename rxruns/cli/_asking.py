"""A dialog in a terminal: shows the calls that wait, and reads an answer. Text of a run is untrusted."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, TypedDict

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from rxruns._display._text import clipped, duration
from rxruns._display._visible import one_line
from rxruns.cli import _json
from rxruns.cli._values import Problem
from rxruns.events import UserAsk, UserAskOption
from rxruns.tools import PendingCall
from rxruns.tools._outputs import as_output

with suppress(ImportError):  # without it, `input` has no arrow keys
    import readline  # noqa: F401  # pyright: ignore[reportUnusedImport]

__all__ = ["Reply", "ask", "listed", "load", "named", "numbered", "outcome", "show"]

LONGEST = 2_000
"""Characters shown of a question or of arguments."""

MOST_LINES = 40
"""Lines shown of them."""

MOST_OPTIONS = 50
MOST_CALLS = 20
_SHORT = 200


class Reply(TypedDict, total=False):
    """The arguments of :func:`rxruns.tools.answer` that make one answer."""

    text: str
    option: str
    output: Any
    deny: str


def named(call: PendingCall) -> str:
    """Name a call by its node and the question or the tool."""
    node = one_line(clipped(call.node_id, _SHORT))
    return f"node {node} {'asks' if call.is_question else f'calls {_tool(call)}'}"


def listed(calls: Sequence[PendingCall]) -> str:
    """Return a line for each call, with the flags that select it: several nodes may use the same call id."""
    lines = [
        f"  --node {_quoted(call.node_id)} --call {_quoted(call.tool_call.id)}: {_content(call)}"
        for call in calls[:MOST_CALLS]
    ]
    more = len(calls) - len(lines)
    return "\n".join(lines) + (f"\n  and {more:,} more" if more > 0 else "")


def outcome(call: PendingCall, reply: Reply) -> str:
    """Return the line about an accepted answer."""
    node = f"node {one_line(clipped(call.node_id, _SHORT))}"
    match reply:
        case {"deny": reason}:
            denied = "its question" if call.is_question else _tool(call)
            text = f"{node}: {denied} was denied: {reason}"
        case {"output": output}:
            text = f"{node}: {_tool(call)} returned {as_output(output)}"
        case _:
            text = f"{node} was answered: {(reply.get('text') or reply.get('option') or '').strip()}"
    return one_line(clipped(text, _SHORT * 2))


def show(console: Console, call: PendingCall, waited: float | None) -> None:
    """Print a call: its node, its text or arguments, its options with their numbers."""
    since = "" if waited is None else f", waiting for {duration(waited)}"
    heading = f"{named(call)}{since} (call {one_line(clipped(call.tool_call.id, _SHORT))})"
    console.print(Text(heading, "bold"))
    text = call.tool_call.arguments or "" if call.question is None else call.question.question
    for line in _lines(text):
        console.print(Padding(Text(line), (0, 0, 0, 2), expand=False))
    options = (call.question and call.question.options) or ()
    for number, option in enumerate(options[:MOST_OPTIONS], 1):
        console.print(
            Padding(Text.assemble((f"{number}  ", "cyan"), _option(option)), (0, 0, 0, 4), expand=False)
        )
    if len(options) > MOST_OPTIONS:
        console.print(f"    … {len(options) - MOST_OPTIONS:,} more options")


def ask(call: PendingCall) -> Reply:
    """Read an answer from the terminal, again until it fits.

    Raises:
        click.Abort: the input ended.
        KeyboardInterrupt: Ctrl-C.
    """
    if call.is_question:
        return _ask_person(call.question)
    print_line("    1  send an output\n    2  deny the call")
    while True:
        match _read("number: ").strip():
            case "1":
                return _ask_output()
            case "2":
                return {"deny": _filled("reason: ")}
            case _:
                print_line("  enter 1 or 2")


def numbered(question: UserAsk | None, text: str) -> str | None:
    """Return the label that a label or a number from 1 selects; None for any other text.

    >>> from rxruns.testing import events
    >>> question = events.run().node("plan").asks("Where to?", "Lisbon", "Porto")[-1].user_ask
    >>> [numbered(question, text) for text in ("Lisbon", "2", "3", "0")]
    ['Lisbon', 'Porto', None, None]
    """
    labels = [option.label for option in (question and question.options) or ()]
    found = [label for label in labels if label.strip() == text.strip()]
    if not found and text.strip().isdecimal() and 0 < int(text.strip()[:9]) <= len(labels):
        found = [labels[int(text.strip()[:9]) - 1]]
    return found[0] if found else None


def load(text: str) -> Any:
    """Return the value of JSON text.

    Raises:
        Problem: it isn't JSON, or exceeds a limit; the message has the column.
    """
    try:
        return _json.load(text)[0]
    except Problem as problem:
        raise Problem(f"column {problem.place + 1}: {problem}", problem.place) from problem


def print_line(text: str) -> None:
    """Print a line of the dialog."""
    click.echo(text, err=True)


def _ask_person(question: UserAsk | None) -> Reply:
    labels = (question and question.options) or ()
    is_free = question is None or question.allow_freeform
    if not labels and not is_free:
        return {"deny": _filled("it has no options; deny it with a reason: ")}
    kinds = ["number"] if labels else []
    prompt = " or ".join([*kinds, "text"] if is_free else kinds)
    while True:
        text = _filled(f"{prompt}: ")
        label = numbered(question, text)
        if label is not None:
            return {"option": label}
        if is_free and not (labels and text.strip().isdecimal()):  # a number was meant for an option
            return {"text": text}
        print_line(
            f"  enter a number from 1 to {len(labels)}, or {'another text' if is_free else 'its text'}"
        )


def _ask_output() -> Reply:
    while True:
        try:
            return {"output": load(_filled("output (JSON): "))}
        except Problem as problem:
            print_line(f"  not valid JSON: {one_line(str(problem))}")


def _filled(prompt: str) -> str:
    """Read a line that isn't blank."""
    while not (text := _read(prompt)).strip():
        pass
    return text


def _read(prompt: str) -> str:
    if not sys.stdout.isatty():  # `input` would write its prompt there
        click.echo(prompt, nl=False, err=True)
        prompt = ""
    try:
        return input(prompt)
    except EOFError:
        raise click.Abort from None
    except UnicodeDecodeError:
        print_line("  the text must be UTF-8")
        return ""


def _content(call: PendingCall) -> str:
    arguments = call.tool_call.arguments or ""
    if call.is_question:
        return one_line(clipped(call.question.question if call.question else arguments, _SHORT))
    return f"{_tool(call)}({one_line(clipped(arguments, _SHORT))})"


def _quoted(id: str) -> str:
    return one_line(shlex.quote(clipped(id, _SHORT)))


def _tool(call: PendingCall) -> str:
    return one_line(clipped(call.tool_call.name, _SHORT))


def _lines(text: str) -> Iterator[str]:
    lines = clipped(text, LONGEST).splitlines()
    yield from map(one_line, lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        yield f"… {len(lines) - MOST_LINES} more lines"


def _option(option: UserAskOption) -> str:
    description = f": {option.description}" if option.description else ""
    return one_line(clipped(f"{option.label}{description}", _SHORT))
