"""Many lines to many events, at the speed of msgspec.

What msgspec does not see of a line (bytes that are not UTF-8 in a field that nobody declares, nesting) is
looked for in all the lines that came together. Then they are decoded in a loop that is all C, up to a line
that msgspec refuses: that one is decoded alone, and the loop goes on behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import filterfalse
from operator import length_hint

import msgspec

from rxruns._ndjson._decoding import SHALLOW, RecordError, decode_event, decode_known, refuse_deep_nesting
from rxruns._ndjson._framing import Lines, without_newline
from rxruns.events import RunEvent

__all__ = ["EventLines"]

_FEW = 4
"""Up to that many lines are decoded one by one: to check them together takes longer."""

_AT_ONCE = 64
"""So many events exist before the first of them is given: more gain nothing and fill the cache."""


class EventLines:
    """Iterate the events of lines, those that came together at once. Blank lines and keep-alives have none.

    Args:
        lines: where they come from.
        on_invalid: gets the error of a line that is no valid event, when all events before it were given.
            It may raise.
        on_idle: called at each blank line and each keep-alive.

    Attributes:
        has_idled: whether a blank line or a keep-alive has come.

    >>> lines = Lines([b'{"type":"keepalive"}\\n[]\\n'])
    >>> [list(events) for events in EventLines(lines, lambda error: print(error))]
    not a JSON object
    []
    """

    def __init__(
        self,
        lines: Lines,
        on_invalid: Callable[[RecordError], object],
        on_idle: Callable[[], object] = bool,
    ) -> None:
        self._lines = lines
        self._on_invalid = on_invalid
        self._on_idle = on_idle
        # Lines that came together, the number of the first, how many were decoded, what was not given yet.
        self._batch: list[bytes] = []
        self._first = 1
        self._decoded = 0
        self._rest: Iterator[RunEvent] = iter(())
        self.has_idled = False
        self._iterator = map(self._give, self._decode())

    @property
    def line(self) -> bytes:
        """That of the event that was given last, or of the error."""
        return without_newline(self._batch[self._place])

    @property
    def received(self) -> bytes:
        """The bytes of that line exactly as they came, ending in LF."""
        line = self._batch[self._place]
        return line if line.endswith(b"\n") else line + b"\n"

    @property
    def number(self) -> int:
        """Of that line, from 1."""
        return self._first + self._place

    def __iter__(self) -> Iterator[Iterator[RunEvent]]:
        return self._iterator

    def decode_tail(self) -> Iterator[RunEvent]:
        """The event of the bytes after the last newline, if there is one, when all whole lines were given.

        Raises:
            RecordError: they are no valid event, and no record at all if they were cut.
        """
        tail = self._lines.tail
        self._batch, self._first, self._decoded = [tail], self._lines.number + 1, 1
        event = decode_event(tail)
        return iter(()) if event is None else self._give((event,))

    @property
    def _place(self) -> int:
        return self._decoded - 1 - length_hint(self._rest)

    def _give(self, events: Sequence[RunEvent]) -> Iterator[RunEvent]:
        self._rest = iter(events)
        return self._rest

    def _decode(self) -> Iterator[Sequence[RunEvent]]:
        for batch in self._lines.batches():
            self._batch, self._first, self._decoded = batch, self._lines.number - len(batch) + 1, 0
            if len(batch) > _FEW and _are_plain(batch):
                yield from self._decode_at_once(batch)
            else:
                yield from self._decode_each(batch)
            self._batch = batch = []  # a stream that waits keeps nothing of what came

    def _decode_at_once(self, batch: list[bytes]) -> Iterator[Sequence[RunEvent]]:
        while self._decoded < len(batch):
            lines = batch[self._decoded : self._decoded + _AT_ONCE]
            events: list[RunEvent] = []
            alone: list[bytes] = []
            try:
                events.extend(map(decode_known, lines))  # up to one that is refused
            except (msgspec.DecodeError, ValueError, RecursionError):
                alone = lines[len(events) : len(events) + 1]
            self._decoded += len(events)
            yield events
            del events  # not kept until more comes
            yield from self._decode_each(alone)

    def _decode_each(self, lines: Iterable[bytes]) -> Iterator[Sequence[RunEvent]]:
        for line in lines:
            self._decoded += 1
            try:
                event = decode_event(without_newline(line))
            except RecordError as error:
                self._on_invalid(error)
            else:
                if event is not None:
                    yield (event,)
                elif line:  # an over-long one was replaced by b""
                    self.has_idled = True
                    self._on_idle()


def _are_plain(lines: list[bytes]) -> bool:
    """Whether all of them are UTF-8, and none is nested too deep."""
    try:
        for line in filterfalse(bytes.isascii, lines):
            line.decode()
        for line in lines:
            if len(line) > SHALLOW:
                refuse_deep_nesting(line)
    except (UnicodeDecodeError, RecordError, RecursionError):
        return False
    return True
