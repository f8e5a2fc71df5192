"""``rxruns answer``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import click
import reactivex
from rich.console import Console

from rxruns import operators as ops
from rxruns import tools
from rxruns._display._visible import one_line
from rxruns._streams._run_events import block_on
from rxruns.cli._asking import Reply, ask, listed, load, named, numbered, outcome, print_line, show
from rxruns.cli._output import Lines
from rxruns.cli._panel import Exit
from rxruns.cli._sources import Service, with_service
from rxruns.cli._values import Problem
from rxruns.errors import APIError, InvalidArgumentError, RunsError
from rxruns.events import NodeWaiting
from rxruns.tools import MAX_OUTPUT_BYTES, PendingCall
from rxruns.tools._answer import ANSWERED
from rxruns.tools._pending import selected

PATIENCE = 2.0
"""Seconds spent at most on reading since when the calls have waited."""


@click.command(
    short_help="Answer a question or a tool call of a waiting run.",
    epilog="""\b
Example: rxruns answer 7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11
         rxruns answer RUN_ID --node plan --option 1
         rxruns answer RUN_ID --call call_7 --json '{"paid": true}'
         rxruns answer RUN_ID --call call_7 --deny "over the budget"
         echo "twice a day" | rxruns answer RUN_ID
""",
)
@click.argument("run_id", metavar="RUN_ID", type=click.UUID)
@click.option("--node", metavar="ID", help="Only what this node waits for.")
@click.option("--call", metavar="ID", help="Only the call with this id.")
@click.option("--text", help="The answer to a question. Default: standard input, unless it is a terminal.")
@click.option("--option", metavar="LABEL|NUMBER", help="The answer to a question: one of its options.")
@click.option("--json", "json_text", metavar="JSON", help="The output of a tool. A string is sent as text.")
@click.option("--deny", metavar="REASON", help="Refuse; the model receives the reason as an error.")
@with_service
def answer(
    run_id: UUID,
    node: str | None,
    call: str | None,
    text: str | None,
    option: str | None,
    json_text: str | None,
    deny: str | None,
    service: Service,
) -> Exit:
    """Show the questions and tool calls that a run waits for, and answer them.

    In a terminal, each is shown and answered in turn. With one of --text, --option, --json and --deny, or
    from a pipe, one is answered. Ctrl-C stops and sends nothing. The exit code is 4 if nothing waits any
    more.
    """
    given = {"--text": text, "--option": option, "--json": json_text, "--deny": deny}
    flags = [(flag, value) for flag, value in given.items() if value is not None]
    if len(flags) > 1:
        raise click.UsageError(f"{' and '.join(flag for flag, _ in flags)} can't be combined")
    calls = tools.pending(run_id, client=service.client)
    chosen = selected(calls, node, call)
    if not chosen:
        return _nothing(run_id, calls, service)
    if not flags and sys.stdin is not None and sys.stdin.isatty():
        return _dialog(chosen, service)
    if len(chosen) > 1:
        raise click.UsageError(f"{len(chosen)} calls wait; select one:\n{listed(chosen)}")
    flag, value = flags[0] if flags else ("--text", None)
    _check_kind(chosen[0], flag)
    return _send(chosen[0], _reply(chosen[0], flag, _piped() if value is None else value), service)


def _nothing(run_id: UUID, calls: Sequence[PendingCall], service: Service) -> Exit:
    """Print why there is nothing to answer."""
    if calls:
        what = f"doesn't wait for this node or call; select another:\n{listed(calls)}"
    else:
        what = f"waits for no answer: its status is {one_line(service.client.get(run_id).status)}"
    print_line(f"rxruns: run {run_id} {what}")
    return Exit.NOT_PENDING


def _check_kind(call: PendingCall, flag: str) -> None:
    """Require a flag that fits a question or a tool call."""
    if flag != "--deny" and call.is_question == (flag == "--json"):
        fitting = "--text, --option or --deny" if call.is_question else "--json or --deny"
        raise click.UsageError(f"{named(call)}: answer with {fitting}")


def _reply(call: PendingCall, flag: str, value: str) -> Reply:
    """Return the reply that a flag makes.

    Raises:
        click.UsageError: it isn't JSON.
    """
    if flag == "--deny":
        return {"deny": value}
    if flag == "--text":
        return {"text": value}
    if flag == "--option":
        return {"option": numbered(call.question, value) or value}
    try:
        return {"output": load(value)}
    except Problem as problem:
        raise click.UsageError(f"--json must be valid JSON: {one_line(str(problem))}") from problem


def _piped() -> str:
    """Return the text of standard input.

    Raises:
        click.UsageError: it is missing, or can't be an answer.
    """
    try:
        text = "" if sys.stdin is None else sys.stdin.read(MAX_OUTPUT_BYTES + 1)
    except UnicodeDecodeError:
        raise click.UsageError("standard input must be text in UTF-8") from None
    if not text.strip():
        raise click.UsageError(
            "no answer: pass --text, --option, --json or --deny, or text on standard input"
        )
    return text


def _dialog(calls: Sequence[PendingCall], service: Service) -> Exit:
    """Show and answer each call in the terminal."""
    console = Console(stderr=True, highlight=False)
    since = _since(calls, service)
    code = Exit.SUCCEEDED
    for call in calls:
        began = since.get((call.node_id, call.step))
        show(console, call, None if began is None else max(0.0, (datetime.now(UTC) - began).total_seconds()))
        try:
            while True:
                try:
                    code = max(code, _send(call, ask(call), service))
                    break
                except InvalidArgumentError as error:
                    print_line(f"  {one_line(str(error))}")
        except (click.Abort, KeyboardInterrupt):
            print_line("")  # after the prompt
            raise
    return code


def _since(calls: Sequence[PendingCall], service: Service) -> dict[tuple[str, int], datetime]:
    """Return when the nodes of the calls began to wait, as far as it can be read soon."""
    since: dict[tuple[str, int], datetime] = {}
    wanted = {(call.node_id, call.step): call.request_id for call in calls}

    def note(event: NodeWaiting) -> None:
        key = (event.node_id, event.waiting.step)
        if wanted.get(key) == event.waiting.request_id:
            since.setdefault(key, event.ts)

    waits = service.events(calls[0].run_id, wait=False).pipe(
        ops.take_until(reactivex.timer(PATIENCE)), ops.of_type(NodeWaiting), ops.tap(note)
    )
    with suppress(RunsError):  # the calls can be answered without it
        block_on(waits)
    return since


def _send(call: PendingCall, reply: Reply, service: Service) -> Exit:
    """Submit an answer and print the outcome."""
    try:
        tools.answer(call, client=service.client, **reply)
    except APIError as error:
        if error.status not in ANSWERED:
            raise
        print_line(f"rxruns: {one_line(error.message)}")
        return Exit.NOT_PENDING
    Lines().write(outcome(call, reply))
    return Exit.SUCCEEDED
