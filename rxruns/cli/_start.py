"""``rxruns start``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click
from rich.console import Console

from rxruns._display._text import clipped
from rxruns.cli import _json
from rxruns.cli._documents import Document, load
from rxruns.cli._following import follow, report, timeout_option
from rxruns.cli._output import Lines
from rxruns.cli._panel import Exit
from rxruns.cli._prices import with_prices
from rxruns.cli._sources import Service, files, with_service
from rxruns.cli._values import Problem
from rxruns.cli._view import RunView
from rxruns.costs import Prices
from rxruns.errors import InvalidArgumentError
from rxruns.workflow import WorkflowSpec
from rxruns.workflow._mappings import with_used_inputs

_UNKNOWN = re.compile("unknown field `(.+)`$")
_SHOWN = 100
"""Characters of an input quoted in an error."""


def key_value(text: str) -> tuple[str, Any]:
    """``name=text``, or ``name:=JSON``.

    >>> key_value("city=Lisbon"), key_value("days:=3")
    (('city', 'Lisbon'), ('days', 3))

    Raises:
        click.BadParameter: neither.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip(":"):
        raise click.BadParameter(f"must be name=text or name:=JSON, got {clipped(text, _SHOWN)!r}.")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], _json.load(value)[0]
    except Problem as problem:
        column = problem.place + 1
        what = f"the value after := is not valid JSON: column {column}: {problem}"
        raise click.BadParameter(f"{clipped(text, _SHOWN)!r}: {what}.") from problem


@click.command(
    epilog="""\b
Example: rxruns start trip.yaml --input city=Lisbon --input days:=3 --watch
         run=$(rxruns start trip.json --input city=Lisbon)
"""
)
@click.argument(
    "spec",
    metavar="SPEC.json|SPEC.yaml",
    type=Path,
    shell_complete=files,
)
@click.option(
    "--input",
    "-i",
    "inputs",
    metavar="KEY=VALUE",
    multiple=True,
    type=key_value,
    help="A text input of the workflow; KEY:=JSON for other values. May be repeated.",
)
@click.option("--watch", is_flag=True, help="Follow the run to its end, on standard error.")
@timeout_option
@with_prices
@with_service
def start(
    spec: Path,
    inputs: tuple[tuple[str, Any], ...],
    watch: bool,
    timeout: float | None,
    prices: Prices | None,
    service: Service,
) -> Exit:
    """Start a run of a workflow and print its id.

    The spec is checked before it is sent; - is standard input.
    """
    given: dict[str, Any] = {}
    for name, value in inputs:
        if name in given:
            raise click.UsageError(f"--input {name} must be given once")
        given[name] = value
    workflow = _workflow(load(spec), given)
    run_id = service.client.create(workflow, input=given or None).run_id
    Lines().write(str(run_id))
    if not watch:
        return Exit.SUCCEEDED
    with RunView(prices, Console(stderr=True, highlight=False)) as view:
        panel = view.panel(run_id)
        panel.can_be_answered = True
        panel.planned = tuple(node.id for node in workflow.nodes)
        events = service.events(run_id, on_lifecycle=panel.note)
        follow(view, {panel: events}, timeout)
    return report(view.panels, timeout)


def _workflow(document: Document, given: Mapping[str, Any]) -> WorkflowSpec:
    """Return the checked spec in a file, with declarations of the given inputs that it uses.

    Raises:
        FileError: the spec is invalid; it names the line of the field.
    """
    value = document.value
    if not isinstance(value, dict):
        found = "nothing" if value is None else type(value).__name__
        raise document.refused(f"a spec must be an object, got {found}")
    record = cast(dict[str, Any], value)
    _spell_out(record.get("nodes"))
    try:
        return WorkflowSpec.from_dict(with_used_inputs(record, given))
    except InvalidArgumentError as error:
        unknown = _UNKNOWN.search(str(error))  # the field is in the text only
        field = f"{error.field}.{unknown[1]}" if unknown else error.field
        raise document.refused_field(str(error), field) from error


def _spell_out(nodes: object) -> None:
    """Expand ``tool_execution: client`` in nodes to ``{"mode": "client"}``."""
    for node in cast("list[object]", nodes) if isinstance(nodes, list) else ():
        if isinstance(node, dict):
            fields = cast("dict[str, object]", node)
            if isinstance(fields.get("tool_execution"), str):
                fields["tool_execution"] = {"mode": fields["tool_execution"]}
            _spell_out([fields.get("subnode")])
