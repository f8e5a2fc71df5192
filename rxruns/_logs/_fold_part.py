"""Read and fold a part of a recorded log, on a worker. Repeating it gives the same result."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from rxruns._fold import Fold, known_types
from rxruns._logs import DamagedError, UnsupportedError, name_of
from rxruns._logs._blocks import Block, blocks, line_boundary
from rxruns._logs._parts import UNPACKED, LogPart, open_part, recognized
from rxruns._logs._search import Search, all_lines, candidates
from rxruns._logs._source import CountedFile, OnRead, Unpacked, sorted_lines
from rxruns._ndjson._dead_letter import dead_letter_event
from rxruns._ndjson._decoder import decode_lines
from rxruns._ndjson._decoding import RecordError, decode_event, protocol_error
from rxruns._ndjson._framing import MAX_LINE_BYTES, may_be_cut
from rxruns.errors import StoreError, StreamProtocolError
from rxruns.events import RunEvent

__all__ = ["FoldedPart", "Seqs", "fold_part"]

_F = TypeVar("_F", bound=Fold)

Seqs: TypeAlias = "array[int]"
"""Each ``seq`` of some events, ascending: the first and the last one of each range without a gap."""

_NEWLINE = ord("\n")
_START = 512
"""Bytes that show the format of a file that is not a log."""
MAX_REPORTED = 1_000
"""Bad lines of one part that are reported one by one; the others are counted."""


class FoldedPart(msgspec.Struct, Generic[_F], frozen=True):
    """The result of folding one part of a log, or several parts.

    Attributes:
        value: the fold.
        seqs: by run, as a number, each ``seq`` of the part: 16 bytes for an event between skipped lines.
        invalid: the errors of lines that are not valid events.
        cut: warnings about files that end with a line that was cut.
        has_late: an event came after a later one of its run, or twice, and was dropped.
    """

    value: _F
    seqs: dict[int, Seqs]
    invalid: tuple[StreamProtocolError, ...] = ()
    cut: tuple[str, ...] = ()
    has_late: bool = False


def fold_part(
    part: LogPart,
    fold: _F,
    *,
    every_line: bool = False,
    tolerant: bool = False,
    excluded: Mapping[int, Sequence[Seqs]] | None = None,
    by_seq: bool = False,
    on_read: OnRead | None = None,
) -> FoldedPart[_F]:
    """Fold the events of a part, without duplicates in it.

    Args:
        part: the part to read.
        fold: the value to begin with.
        every_line: decode all lines, also those without an event that the fold needs.
        tolerant: collect the errors of bad lines; else the first one is raised.
        excluded: by run, the events that were folded elsewhere.
        by_seq: read the lines of each run in the order of their ``seq``, for a file that has them otherwise.
        on_read: is called with the number of bytes of each read.

    Raises:
        StreamProtocolError: a line is not a valid event.
        StoreError: the file can't be read.
    """
    types = () if every_line else known_types(fold)
    try:
        part = recognized(part)
        with open_part(part) as file:
            if on_read is not None:
                file = CountedFile(file, part.end - part.begin, on_read)
            events = _PartEvents(part, file, types, tolerant, by_seq)
            value, seqs, has_late = _folded(events, fold, excluded or {})
    except (OSError, EOFError, DamagedError, UnsupportedError) as error:
        raise StoreError(f"the log {part.path} can't be read: {error}", path=part.path) from error
    return FoldedPart(value, seqs, tuple(events.invalid), tuple(events.cut), has_late and not by_seq)


def _folded(
    events: Iterable[RunEvent], value: _F, excluded: Mapping[int, Sequence[Seqs]]
) -> tuple[_F, dict[int, Seqs], bool]:
    """Return the value, each ``seq`` of each run, and True if an event was out of order."""
    has_late = False
    run = last = 0  # of the event before; ids as numbers, because hashing a UUID takes longer
    seqs: dict[int, Seqs] = {}
    here = array("Q")
    elsewhere: Sequence[Seqs] = ()
    for event in events:
        if event.run_id.int != run:
            run = event.run_id.int
            here = seqs.setdefault(run, array("Q"))
            last = here[-1] if here else 0
            elsewhere = excluded.get(run, ())
        seq = event.seq
        if seq > last:
            if here and seq == last + 1:
                here[-1] = seq
            else:
                here.append(seq)
                here.append(seq)
            last = seq
            if not elsewhere or not any(_has(there, seq) for there in elsewhere):
                value = value.step(event)
        else:
            has_late = True
    return value, seqs, has_late


def _has(seqs: Seqs, seq: int) -> bool:
    place = bisect_right(seqs, seq)
    return place % 2 == 1 or (place > 0 and seqs[place - 1] == seq)


class _PartEvents:
    """Iterate the events of a part that are of the types; without types, all events.

    Attributes:
        invalid: the errors of lines that are not valid events.
        cut: warnings about the end of the file.
    """

    def __init__(
        self, part: LogPart, file: Any, types: tuple[type[RunEvent], ...], tolerant: bool, by_seq: bool
    ) -> None:
        self._part, self._file, self._types, self._tolerant = part, file, types, tolerant
        self._by_seq = by_seq
        self._search: Search = candidates(types) if types else all_lines()
        self.invalid: list[StreamProtocolError] = []
        self.cut: list[str] = []
        self._unreported = 0

    def __iter__(self) -> Iterator[RunEvent]:
        for block in self._blocks():
            if block.offset == 0 and (name := name_of(bytes(block.data[: min(block.end, _START)]))):
                message = f"{self._part.path} is not a log: it seems to be {name}"
                raise StoreError(message, path=self._part.path)
            if block.overlong:
                error = RecordError(f"a line is longer than {MAX_LINE_BYTES:,} bytes")
                self._refuse(error, bytes(block.data[: block.end]), block.offset)
            else:
                ended = block.data[block.end - 1] == _NEWLINE
                events = self._decoded(block) if ended else self._last_event(block)
                types = frozenset(self._types)  # `isinstance` takes six times as long
                yield from (event for event in events if not types or type(event) in types)

    def _blocks(self) -> Iterator[Block]:
        part, file = self._part, self._file
        if self._by_seq:
            with sorted_lines(file, part.size, part.compression in UNPACKED) as lines:
                yield from blocks(lines)
            return
        if part.compression is None:
            begin = line_boundary(file, part.begin, part.size)
            end = line_boundary(file, part.end, part.size) if part.end < part.size else part.size
            file.seek(begin)
            yield from blocks(file, begin, end)
            return
        if part.compression not in UNPACKED:
            yield from blocks(file)
            return
        unpacked = Unpacked(file)
        yield from blocks(unpacked)
        if unpacked.unpacker.is_cut:
            self.cut.append(f"{part.path}: the compressed file is cut; what followed is lost")

    def _decoded(self, block: Block) -> Iterator[RunEvent]:
        found = self._search(block.data, block.end)
        for batch in decode_lines(found.lines, 0):
            if batch.error is not None:
                event = dead_letter_event(batch.lines[0])
                if event is not None:
                    yield event
                    continue
                self._refuse(batch.error, batch.lines[0], block.offset + found.start(batch.number))
            yield from batch.events

    def _last_event(self, block: Block) -> Iterator[RunEvent]:
        """The event of bytes that no newline ends, unless they were cut."""
        line = bytes(block.data[: block.end])
        try:
            event = decode_event(line)
        except RecordError as error:
            event = dead_letter_event(line)
            if event is not None:
                yield event
            elif not error.is_record and may_be_cut(line):
                self.cut.append(f"{self._part.path}: the last line was cut and is left out")
            elif block.offset == 0 or self._search(block.data, block.end).lines:
                self._refuse(error, line, block.offset)
        else:
            if event is not None:
                yield event

    def _refuse(self, error: RecordError, line: bytes, offset: int) -> None:
        message = f"{self._part.path}, byte {offset}: {error}"
        refused = protocol_error(error, line, message=message)
        if not self._tolerant:
            raise refused from error
        if len(self.invalid) < MAX_REPORTED:
            self.invalid.append(refused)
        else:
            self._unreported += 1
            place = f"{self._part.path}: {self._unreported} more lines from byte {self._part.begin} on"
            more = f"{place} are not events"
            self.invalid[MAX_REPORTED:] = [StreamProtocolError(more)]
