"""Many lines to many events, at the speed of msgspec.

What msgspec does not see of a line (bytes that are not UTF-8 in a field that nobody declares, nesting) is
looked for in all the lines that came together. After that nothing stands between a line and its event, except
where msgspec refuses one: that line is decoded alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, filterfalse
from operator import length_hint

import msgspec

from rxruns._decoding import (
    SHALLOW,
    RecordError,
    decode_known,
    event_decoder,
    refuse_deep_nesting,
    refuse_included,
)
from rxruns._framing import Lines
from rxruns.events import NodeOutput, RunCompleted, RunEvent

__all__ = ["EventLines"]

_FEW = 4
"""Up to that many lines are decoded one by one: to check them together takes longer."""


class EventLines:
    """Iterate the events of lines, each as soon as it is decoded. Blank lines and keep-alives have none.

    Args:
        lines: where they come from.
        on_invalid: gets the error of a line that is no valid event, when all events before it were given.
            It may raise.
        include_output: as in :func:`~rxruns._decoding.event_decoder`.

    >>> lines = Lines([b'{"type":"keepalive"}\\n[]\\n'])
    >>> list(EventLines(lines, lambda error: print(error)))
    not a JSON object
    []
    """

    def __init__(
        self, lines: Lines, on_invalid: Callable[[RecordError], object], *, include_output: bool = True
    ) -> None:
        self._lines = lines
        self._on_invalid = on_invalid
        self._decode_alone = event_decoder(include_output=include_output)
        self._unasked: frozenset[type] = frozenset(() if include_output else (RunCompleted, NodeOutput))
        self._batch: list[bytes] = []
        self._rest: Iterator[bytes] = iter(())
        self._after = 0  # the last whole line: 1 at the tail

    @property
    def line(self) -> bytes:
        """That of the event that was given last, or of the error."""
        return self._batch[~length_hint(self._rest)]

    @property
    def number(self) -> int:
        """Of that line, from 1."""
        return self._lines.number - length_hint(self._rest) + self._after

    def __iter__(self) -> Iterator[RunEvent]:
        unasked = self._unasked
        for batch in self._lines.batches():
            self._batch = batch
            self._rest = iter(batch)
            events = self._decoded()
            while True:
                try:
                    for event in events:
                        if event is None:
                            continue
                        if type(event) in unasked:
                            refuse_included(event)
                        yield event
                    break
                except RecordError as error:
                    self._on_invalid(error)
                except (msgspec.DecodeError, ValueError, RecursionError):
                    events = chain(map(self._decode_alone, [self.line]), map(decode_known, self._rest))

    def decode_tail(self) -> RunEvent | None:
        """The event of the bytes after the last newline, when all whole lines were given.

        Raises:
            RecordError: they are no valid event, and no record at all if they were cut.
        """
        self._batch = [self._lines.tail]
        self._after = 1
        return self._decode_alone(self._lines.tail)

    def _decoded(self) -> Iterable[RunEvent | None]:
        if len(self._batch) > _FEW and _are_plain(self._batch):
            return map(decode_known, self._rest)
        return map(self._decode_alone, self._rest)


def _are_plain(lines: list[bytes]) -> bool:
    """Whether all of them are UTF-8, and none is nested too deep."""
    try:
        for line in filterfalse(bytes.isascii, lines):
            line.decode()
        for line in [line for line in lines if len(line) > SHALLOW]:
            refuse_deep_nesting(line)
    except (UnicodeDecodeError, RecordError, RecursionError):
        return False
    return True
