"""``rxruns export``: the spans of runs, to a backend that takes OTLP."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import reactivex
from reactivex import Observable
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from rxruns import operators as ops
from rxruns._arguments import check_url
from rxruns._display._text import counted
from rxruns._display._visible import one_line
from rxruns._policies import RetryPolicy
from rxruns._streams._run_events import block_on
from rxruns.cli._following import timeout_option
from rxruns.cli._panel import NO_EVENT, Exit, early_end
from rxruns.cli._prices import with_prices
from rxruns.cli._sources import Service, Source, source_argument, with_service
from rxruns.costs import Prices
from rxruns.errors import ExportError, RunsError
from rxruns.events import RunCompiled, RunEvent, RunStarted, TerminalEvent

ONCE = RetryPolicy(max_attempts=1)
"""The exporter retries requests itself."""

MOST_RUNS = 10
"""Incomplete runs that are named."""


@click.command(
    short_help="Export runs as OpenTelemetry spans.",
    epilog="""\b
Example: rxruns export 7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11 --otlp http://localhost:6006
         OTEL_EXPORTER_OTLP_HEADERS="Authorization=Basic%20..." \\
             rxruns export *.ndjson --otlp https://cloud.langfuse.com/api/public/otel
""",
)
@source_argument("sources", nargs=-1)
@click.option(
    "--otlp",
    metavar="URL",
    help="Base URL of an OTLP/HTTP receiver; /v1/traces is appended. Default: "
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT (used as it is) or OTEL_EXPORTER_OTLP_ENDPOINT.",
)
@click.option("--content", is_flag=True, help="Export texts, questions, tool arguments and results, too.")
@with_prices
@click.option(
    "--no-follow",
    "follows",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Export the existing events and stop. A run that hasn't ended has no root span.",
)
@timeout_option
@with_service
def export(
    sources: tuple[Source, ...],
    otlp: str | None,
    content: bool,
    prices: Prices | None,
    follows: bool,
    timeout: float | None,
    service: Service,
) -> Exit:
    """Export runs and recorded logs as OpenTelemetry spans, each run until its end.

    Headers come from OTEL_EXPORTER_OTLP_HEADERS alone, because other users can read command lines. Exporting
    a run again gives the same span ids, so a backend that keeps spans by id has each of them once.
    """
    otel, exporter = _exporter(otlp)
    reading = Reading(sources, service, follows)
    events = reading.events()
    if timeout is not None:
        events = events.pipe(ops.take_until(reactivex.timer(timeout)))
    exported = Exported(exporter.origin, reading)
    spans = events.pipe(otel.spans(content=content, prices=prices), otel.export(exporter, retry=ONCE))
    error: ExportError | None = None
    try:
        with exported.progress() as count:
            block_on(spans.pipe(ops.do_action(count)), default=None)
    except ExportError as failed:
        error = failed
    finally:
        exporter.shutdown()
        exported.print_summary()
    return _report(reading, error, exporter)


class Reading:
    """The events of all sources as one stream, and what became of each run.

    Runs are followed side by side, each on its own thread; logs are read one after the other. An error of one
    source doesn't end the others.

    Attributes:
        seqs: of the last event, by run.
        ended: the runs whose terminal event was read.
        errors: the reasons why sources could not be read to their end.
        headless: the first event that was read of each run whose beginning is missing. It has no spans.
    """

    def __init__(self, sources: tuple[Source, ...], service: Service, follows: bool) -> None:
        self._sources = dict.fromkeys(sources)
        self._service, self._follows = service, follows
        self.seqs: dict[UUID, int] = {}
        self.ended: set[UUID] = set()
        self.errors: dict[Source, str] = {}
        self.headless: dict[UUID, int] = {}
        self._runs: dict[Source, set[UUID]] = {source: set() for source in self._sources}

    def events(self) -> Observable[RunEvent]:
        """Return the events, each once, even if a run and its log are given."""
        runs = [
            self._read(source, lambda event: True) for source in self._sources if isinstance(source, UUID)
        ]
        logs = [source for source in self._sources if isinstance(source, Path)]
        one_by_one = reactivex.from_iterable(logs).pipe(
            ops.map(lambda log: self._read(log, lambda event: event.run_id not in self._sources)),
            ops.merge(max_concurrent=1),
        )
        return reactivex.merge(*runs, one_by_one).pipe(ops.filter(self._note))

    def incomplete(self) -> list[str]:
        """Return a line for each run without its first event, or without an end that no error explains."""
        lines = [
            f"run {run_id}: its first event is missing, the events begin with seq {seq}"
            for run_id, seq in self.headless.items()
        ]
        if self._follows:
            known = self.ended.union(*(self._runs[source] for source in self.errors))
            early = {run_id: seq for run_id, seq in self.seqs.items() if run_id not in known}
            lines += [f"run {run_id}: {early_end(seq)}" for run_id, seq in early.items()]
        more = len(lines) - MOST_RUNS
        return lines[:MOST_RUNS] + ([f"and {counted(more, 'more run')}"] if more > 0 else [])

    def _read(self, source: Source, wanted: Callable[[RunEvent], bool]) -> Observable[RunEvent]:
        runs = self._runs[source]

        def note(event: RunEvent) -> bool:
            runs.add(event.run_id)
            return wanted(event)

        def completed() -> None:
            if not runs:
                self.errors[source] = NO_EVENT

        def failed(error: Exception, _: Observable[RunEvent]) -> Observable[RunEvent]:
            if not isinstance(error, RunsError):
                raise error
            self.errors[source] = str(error)
            return reactivex.empty()

        read = self._service.events(source, wait=self._follows)
        return read.pipe(ops.filter(note), ops.do_action(on_completed=completed), ops.catch(failed))

    def _note(self, event: RunEvent) -> bool:
        """Return True for a new event; the merged stream calls it with one event at a time."""
        last = self.seqs.get(event.run_id, 0)
        if event.seq <= last or event.run_id in self.headless:
            return False
        if not last and not _begins(event):
            self.headless[event.run_id] = event.seq
            return False
        self.seqs[event.run_id] = event.seq
        if isinstance(event, TerminalEvent):
            self.ended.add(event.run_id)
        return True


def _begins(event: RunEvent) -> bool:
    """Return True for an event with which ``otel.spans`` accepts a run."""
    return event.seq == 1 or isinstance(event, RunCompiled | RunStarted)


class Exported:
    """The count of exported spans, shown on a terminal while it grows."""

    def __init__(self, origin: str, reading: Reading) -> None:
        self._origin, self._reading = origin, reading
        self._spans = 0

    def print_summary(self) -> None:
        """Print the summary to stderr, unless nothing was exported: then a reason is printed."""
        if self._spans:
            click.echo(self.summary(), err=True)

    def summary(self) -> str:
        """Return a line about the exported spans."""
        runs = counted(len(self._reading.seqs), "run")
        return one_line(f"exported {counted(self._spans, 'span')} of {runs} to {self._origin}")

    @contextmanager
    def progress(self) -> Generator[Callable[[Any], None]]:
        """Show the count; yields a function that counts a span."""
        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(self.summary(), total=None)

            def count(span: Any) -> None:
                self._spans += 1
                if not progress.disable:
                    progress.update(task, description=self.summary())

            yield count


def _exporter(url: str | None) -> tuple[Any, Any]:
    """Return the bridge and an exporter, if their extra is installed."""
    try:
        from rxruns import otel  # noqa: PLC0415  (needs an extra)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("google", "opentelemetry"):
            raise
        raise click.UsageError(f"export needs {error.name}: pip install 'rxruns[otel]'") from error
    if url:
        check_url("otlp", url, "http://localhost:4318")
    return otel, otel.OtlpExporter(url)


def _report(reading: Reading, error: ExportError | None, exporter: Any) -> Exit:
    """Print why spans are missing to stderr, and return the exit code."""
    lines = [f"{source}: {why}" for source, why in reading.errors.items()]
    if error is not None:
        reason = error.__cause__ if isinstance(error.__cause__, RunsError) else error
        lines.append(f"{exporter.origin}: {reason}; export again, the ids of the spans stay the same")
    else:
        lines += reading.incomplete()
    if exporter.rejected:
        lines.append(f"the backend rejected {counted(exporter.rejected, 'span')}: {exporter.reason}")
    for line in lines:
        click.echo(one_line(f"rxruns: {line}"), err=True)
    return Exit.NOT_FOLLOWED if lines else Exit.SUCCEEDED
