"""``rxruns events``."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import click
import reactivex

from rxruns import operators as ops
from rxruns._display._visible import one_line, printable_json
from rxruns._ndjson._decoding import encode_event
from rxruns._streams._run_events import block_on
from rxruns.cli._following import report, settle, timeout_option
from rxruns.cli._output import Lines
from rxruns.cli._panel import NO_EVENT, Exit, Panel
from rxruns.cli._selecting import Selection, with_selection
from rxruns.cli._sources import Service, Source, naming, source_argument, with_service
from rxruns.events import NodeEvent, RunEvent, TerminalEvent


@click.command(
    short_help="Write events to standard output, as NDJSON.",
    epilog="""\b
Example: rxruns events 7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11 --record run.ndjson
         rxruns events run.ndjson --type node_failed | jq -r .error.message
""",
)
@source_argument()
@with_selection
@click.option(
    "--record",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append all events to this log, whatever is selected; a run's events exactly as received.",
)
@timeout_option
@with_service
def events(
    source: Source, selection: Selection, record: Path | None, timeout: float | None, service: Service
) -> Exit:
    """Write the events of a run or of a recorded log to standard output, one JSON object per line.

    FILE may also have dead letters, as written by ops.handle.
    Events are encoded again, without fields that rxruns doesn't know, and with \\u escapes for control
    characters. --record keeps the lines of a run byte for byte.
    """
    if record is not None and isinstance(source, Path) and record.exists() and record.samefile(source):
        raise click.UsageError(f"--record must be another file than the log that is read, got {record}")
    lines, panels, nodes = Lines(), dict[UUID, Panel](), dict[str, None]()
    if isinstance(source, UUID):
        panels[source] = Panel(source)

    def note(event: RunEvent) -> None:
        panel = panels.get(event.run_id)
        if panel is None:
            panel = panels[event.run_id] = Panel(event.run_id)
        panel.last = event
        if isinstance(event, TerminalEvent):
            panel.update(event)
        if selection.nodes and isinstance(event, NodeEvent):
            nodes[event.node_id] = None

    def write(event: RunEvent) -> None:
        lines.write(printable_json(encode_event(event)))

    read = selection.read(service, source, record=record)
    if isinstance(source, UUID) and selection.follows:
        read = read.pipe(
            ops.tap(on_completed=lambda: settle(panels[source], service.client, selection.after))
        )
    if timeout is not None:
        read = read.pipe(ops.take_until(reactivex.timer(timeout)))
    with naming(source):
        block_on(selection.chosen(read.pipe(ops.tap(note))).pipe(ops.tap(write)))
    missing = selection.missing(nodes, str(source))
    if missing:
        click.echo(one_line(f"rxruns: {missing}"), err=True)
    if not panels:
        after = f" after seq {selection.after}" if selection.after else ""
        click.echo(one_line(f"rxruns: {source}: {NO_EVENT}{after}"), err=True)
        return Exit.NOT_FOLLOWED
    for panel in panels.values():
        panel.is_partial = not selection.follows
    return report(panels.values(), timeout)
