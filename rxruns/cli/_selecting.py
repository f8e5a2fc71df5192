"""Which events of a run a command takes: the flags, and what they mean as operators."""

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

__all__ = ["Selection", "with_selection"]

R = TypeVar("R")

MOST = 12
"""Names of nodes that a message lists."""

TYPES = tuple(event.type for event in KNOWN_EVENTS)


class Selection(Struct, frozen=True, kw_only=True):
    """What to read of a run, and what to take of that.

    Attributes:
        nodes, types: empty for all.
        after: begin after the event with this ``seq``.
        tail: no more than so many of the events that are there.
        follows: go on to the end of the run.
    """

    nodes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    after: int = 0
    tail: int | None = None
    follows: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether a run is read from its first event on."""
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
        """The events of the source, of whatever node and type; all that is read is appended to `record`.

        A service knows no other place to begin than ``after_seq``, so for a tail all that is there is read.

        Args:
            service: where runs are.
            source: a run, or a log.
            on_lifecycle: of a run.
            record: the path of a log.
            speed: of a log, without a tail; None for at once.
        """
        events = partial(service.events, source, on_lifecycle=on_lifecycle, record=record)
        if self.tail is None:
            return events(after_seq=self.after, wait=self.follows, speed=speed)
        tail = self.tail

        def go_on(last: list[RunEvent]) -> Observable[RunEvent]:
            there = reactivex.from_iterable(last[max(0, len(last) - tail) :])
            if (
                not self.follows
                or not isinstance(source, UUID)
                or (last and isinstance(last[-1], TerminalEvent))
            ):
                return there
            seq = last[-1].seq if last else self.after
            return reactivex.concat(there, events(after_seq=seq))

        there = events(after_seq=self.after, wait=False)
        return there.pipe(ops.take_last_buffer(max(tail, 1)), ops.flat_map(go_on))

    def takes(self, event: RunEvent) -> bool:
        """Whether node and type are among those that were asked for."""
        if self.types and event.type not in self.types:
            return False
        return not self.nodes or getattr(event, "node_id", None) in self.nodes

    def missing(self, nodes: Collection[str], of: str) -> str:
        """What is to be said of nodes that were asked for and are not among these; empty for nothing.

        A child of a fan-out, such as ``each_one_3``, is in no plan.
        """
        missing = [name for name in self.nodes if name not in nodes and not _may_be_child(name, nodes)]
        if not missing:
            return ""
        known = ", ".join(list(nodes)[:MOST]) + (" …" if len(nodes) > MOST else "")
        return f"{of} has no node {' or '.join(missing)}: its nodes are {known or 'not known'}"

    def chosen(self, events: Observable[RunEvent], *, keep_run: bool = False) -> Observable[RunEvent]:
        """What is taken of these events; with `keep_run` those of the run itself, too."""
        if not (self.nodes or self.types):
            return events
        return events.pipe(
            ops.filter(lambda event: keep_run and isinstance(event, PlanEvent) or self.takes(event))
        )


def _may_be_child(name: str, nodes: Collection[str]) -> bool:
    """Whether a fan-out among the nodes may have a child of that id.

    >>> [_may_be_child(name, ["each"]) for name in ("each_one_3", "each.one[3]", "each_one", "last_3")]
    [True, True, False, False]
    """
    if "[" in name:
        return True
    stem, _, number = name.rpartition("_")
    return number.isdecimal() and any(stem.startswith(f"{node}_") for node in nodes)


def event_type(text: str) -> str:
    """The wire's name of an event type.

    Raises:
        click.BadParameter: there is no such type.
    """
    if text not in TYPES:
        near = get_close_matches(text, TYPES, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the types are {', '.join(TYPES)}."
        raise click.BadParameter(f"there is no event type {text!r}: {hint}")
    return text


def with_selection(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the flags. It gets them as one argument, ``selection``."""

    @click.option("--node", "nodes", metavar="ID", multiple=True, help="Of this node alone; may be repeated.")
    @click.option(
        "--type",
        "types",
        metavar="TYPE",
        multiple=True,
        type=event_type,
        shell_complete=_complete_type,
        help="Of this type alone, such as node_failed; may be repeated.",
    )
    @click.option("--after", metavar="SEQ", type=click.IntRange(0), default=0, help="Begin after this event.")
    @click.option(
        "--tail",
        metavar="N",
        type=click.IntRange(0),
        help="Of the events that are there the last N alone (all are read: there is no shorter way).",
    )
    @click.option("--no-follow", is_flag=True, help="End after the events that are there.")
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
