"""The flags that select events of a run, as operators."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import click
import reactivex
from click.shell_completion import CompletionItem
from msgspec import Struct
from reactivex import Observable

from rxruns import operators as ops
from rxruns._streams._following import OnLifecycle
from rxruns.cli._sources import Service, Source
from rxruns.events import KNOWN_EVENTS, PlanEvent, RunEvent, TerminalEvent

R = TypeVar("R")

MOST = 12
"""Names of nodes listed in a message."""

TYPES = tuple(event.type for event in KNOWN_EVENTS)


class Selection(Struct, frozen=True, kw_only=True):
    """The events to read of a run, and those to keep.

    Attributes:
        nodes, types: empty for all.
        after: start after the event with this ``seq``.
        tail: the number of existing events to keep; None for all.
        follows: follow the run to its end.
    """

    nodes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    after: int = 0
    tail: int | None = None
    follows: bool = True

    @property
    def is_whole(self) -> bool:
        """True if a run is read from its first event."""
        return self.after == 0 and self.tail is None

    def read(
        self,
        service: Service,
        source: Source,
        on_lifecycle: OnLifecycle | None = None,
        *,
        record: Path | None = None,
        speed: float | None = None,
    ) -> Observable[RunEvent]:
        """Return the events of the source, of all nodes and types.

        The service can only start after a ``seq``, so all existing events are read for a tail.

        Args:
            service: the service of the runs.
            source: a run, or a log.
            on_lifecycle: for a run.
            record: the path of a log, to which all events are appended.
            speed: for a log without a tail; None for no pauses.
        """
        events = partial(service.events, source, on_lifecycle=on_lifecycle, record=record)
        if self.tail is None:
            return events(after_seq=self.after, wait=self.follows, speed=speed)
        tail = self.tail

        def continued(last: list[RunEvent]) -> Observable[RunEvent]:
            existing = reactivex.from_iterable(last[max(0, len(last) - tail) :])
            if (
                not self.follows
                or not isinstance(source, UUID)
                or (last and isinstance(last[-1], TerminalEvent))
            ):
                return existing
            seq = last[-1].seq if last else self.after
            return reactivex.concat(existing, events(after_seq=seq))

        existing = events(after_seq=self.after, wait=False)
        return existing.pipe(ops.take_last_buffer(max(tail, 1)), ops.flat_map(continued))

    def takes(self, event: RunEvent) -> bool:
        """Return True if the event's node and type are selected."""
        if self.types and event.type not in self.types:
            return False
        return not self.nodes or getattr(event, "node_id", None) in self.nodes

    def missing(self, nodes: Collection[str], of: str) -> str:
        """Return a message about selected nodes that don't exist; empty if there are none.

        Children of a fan-out, such as ``each_one_3``, are missing in plans.
        """
        missing = [name for name in self.nodes if name not in nodes and not _may_be_child(name, nodes)]
        if not missing:
            return ""
        known = ", ".join(list(nodes)[:MOST]) + (" …" if len(nodes) > MOST else "")
        return f"{of} has no node {' or '.join(missing)}: its nodes are {known or 'not known'}"

    def chosen(self, events: Observable[RunEvent], *, keep_run: bool = False) -> Observable[RunEvent]:
        """Return the selected events; with `keep_run` also those of the run itself."""
        if not (self.nodes or self.types):
            return events
        return events.pipe(
            ops.filter(lambda event: keep_run and isinstance(event, PlanEvent) or self.takes(event))
        )


def _may_be_child(name: str, nodes: Collection[str]) -> bool:
    """Return True if a fan-out among the nodes may have a child with this id.

    >>> [_may_be_child(name, ["each"]) for name in ("each_one_3", "each.one[3]", "each_one", "last_3")]
    [True, True, False, False]
    """
    if "[" in name:
        return True
    stem, _, number = name.rpartition("_")
    return number.isdecimal() and any(stem.startswith(f"{node}_") for node in nodes)


def event_type(text: str) -> str:
    """Return the name of an event type.

    Raises:
        click.BadParameter: there is no such type.
    """
    if text not in TYPES:
        near = get_close_matches(text, TYPES, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the types are {', '.join(TYPES)}."
        raise click.BadParameter(f"there is no event type {text!r}: {hint}")
    return text


def with_selection(command: Callable[..., R]) -> Callable[..., R]:
    """Add the flags to a command, which gets them as one argument, ``selection``."""

    @click.option(
        "--node", "nodes", metavar="ID", multiple=True, help="Only events of this node; may be repeated."
    )
    @click.option(
        "--type",
        "types",
        metavar="TYPE",
        multiple=True,
        type=event_type,
        shell_complete=_complete_type,
        help="Only events of this type, such as node_failed; may be repeated.",
    )
    @click.option("--after", metavar="SEQ", type=click.IntRange(0), default=0, help="Start after this event.")
    @click.option(
        "--tail",
        metavar="N",
        type=click.IntRange(0),
        help="Only the last N of the existing events (all of them are read).",
    )
    @click.option("--no-follow", is_flag=True, help="Stop after the existing events.")
    @functools.wraps(command)
    def with_flags(
        *arguments: Any,
        nodes: tuple[str, ...],
        types: tuple[str, ...],
        after: int,
        tail: int | None,
        no_follow: bool,
        **options: Any,
    ) -> R:
        selection = Selection(nodes=nodes, types=types, after=after, tail=tail, follows=not no_follow)
        return command(*arguments, selection=selection, **options)

    return with_flags


def _complete_type(
    context: click.Context, parameter: click.Parameter, typed: str
) -> list[CompletionItem[str]]:
    return [CompletionItem(name) for name in TYPES if name.startswith(typed)]
