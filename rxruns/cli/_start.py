"""``rxruns start``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import click
from rich.console import Console

from rxruns.cli._documents import load
from rxruns.cli._following import follow, report, timeout_option
from rxruns.cli._output import Lines
from rxruns.cli._panel import Exit
from rxruns.cli._prices import with_prices
from rxruns.cli._sources import Service, with_service
from rxruns.cli._view import RunView
from rxruns.costs import Prices
from rxruns.workflow import WorkflowSpec
from rxruns.workflow._mappings import with_used_inputs

__all__ = ["start"]


def key_value(text: str) -> tuple[str, Any]:
    """``name=text``, or ``name:=JSON``.

    >>> key_value("city=Lisbon"), key_value("days:=3")
    (('city', 'Lisbon'), ('days', 3))

    Raises:
        click.BadParameter: neither.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip(":"):
        raise click.BadParameter(f"{text!r} has to be name=text or name:=JSON.")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], json.loads(value)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"{text!r}: what follows := is no JSON: {error}.") from error


@click.command(
    epilog="""\b
Example: rxruns start trip.yaml --input city=Lisbon --input days:=3 --watch
         run=$(rxruns start trip.json --input city=Lisbon)
"""
)
@click.argument(
    "spec",
    metavar="SPEC.json|SPEC.yaml",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
)
@click.option(
    "--input",
    "-i",
    "inputs",
    metavar="KEY=VALUE",
    multiple=True,
    type=key_value,
    help="An input that the workflow declares or uses, text; KEY:=JSON for anything else. May be repeated.",
)
@click.option("--watch", is_flag=True, help="Show the run to its end, on standard error.")
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
    """Start a run of a workflow, and print its id.

    The spec is checked before anything is sent. - reads it from standard input.
    """
    given: dict[str, Any] = {}
    for name, value in inputs:
        if name in given:
            raise click.UsageError(f"--input {name} is given twice")
        given[name] = value
    document = load(spec)
    if not isinstance(document, dict):
        found = "nothing" if document is None else type(document).__name__
        raise click.UsageError(f"{spec}: a spec is an object, not {found}")
    workflow = WorkflowSpec.from_dict(with_used_inputs(cast("dict[str, Any]", document), given))
    run_id = service.client.create(workflow, input=given or None).run_id
    Lines().write(str(run_id))
    if not watch:
        return Exit.SUCCEEDED
    with RunView(prices, Console(stderr=True, highlight=False)) as view:
        panel = view.panel(run_id)
        panel.planned = tuple(node.id for node in workflow.nodes)
        events = service.events(run_id, on_lifecycle=panel.note)
        follow(view, {panel: events}, timeout)
    return report(view.panels, timeout)
