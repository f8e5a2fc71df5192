"""The events of one recorded log, as the Observable of :mod:`rxruns._streams._recorded` asks for them."""

from __future__ import annotations

import logging
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from rxruns._logs import (
    DamagedError,
    LinesBySeq,
    LogFile,
    Unpacker,
    UnsupportedError,
    is_ordered,
    name_of,
    prefix_of,
)
from rxruns._ndjson._bulk import EventLines
from rxruns._ndjson._decoding import RecordError, excerpt
from rxruns._ndjson._framing import MAX_LINE_BYTES, Lines, may_be_cut
from rxruns._streams._reader import OnInvalid
from rxruns.errors import StoreError, StreamProtocolError
from rxruns.events import RunEvent

__all__ = ["RecordedLog"]

logger: logging.Logger = logging.getLogger("rxruns")

_T = TypeVar("_T")


class RecordedLog:
    """The events of one file, read once. Any thread may close it; nothing is given after that batch.

    Each run's events are given in ``seq`` order. While a run has no gap, an event that comes late was given
    before. At the first gap a file is searched: if any event comes after a later one, the rest is read by
    ``seq``. A pipe can't be, so what comes late is counted and dropped.

    Attributes:
        error: what ended the reading early. It isn't raised, so that an error of the code that gets the
            events isn't taken for it.

    Raises:
        StoreError: the file can't be opened.
    """

    def __init__(self, path: Path, on_invalid: OnInvalid) -> None:
        self._path = path
        self._on_invalid: OnInvalid = on_invalid
        self.closed = False
        self.error: Exception | None = None
        # Of the event before, and of the other runs; ids as numbers, because hashing a UUID takes longer.
        self._run = self._last = 0
        self._last_seqs: dict[int, int] = {}
        try:
            self._file = LogFile(path)
        except (OSError, ValueError) as error:  # a NUL in the path
            raise self._failed(error) from error
        self._is_ordered = False  # known to be, gaps or not
        self._gaps: dict[int, array[int]] | None = None if self._file.is_seekable else {}
        self._late = 0
        self._sorted: LinesBySeq | None = None
        self._refused = 0  # lines up to this one were refused, or given
        self._unpacker = Unpacker(self._file.chunks())
        self._lines = Lines(())
        self._batches = self._decode(self._unpacker)

    def close(self) -> None:
        self.closed = True
        self._file.close()

    def read(self, give: Callable[[RunEvent], object]) -> bool:
        """Give the next events, some at once, each that did not come before. False: there are no more."""
        events = self._guarded(self._next)
        while events is not None:
            after_gap = self._give(events, give)
            if after_gap is None:
                return True
            rest = chain((after_gap,), events)
            events = self._guarded(partial(self._past_gap, after_gap, rest))
        self._file.close()
        return False

    def _guarded(self, step: Callable[[], _T | None]) -> _T | None:
        try:
            return step()
        except Exception as error:
            self.error = error
            return None

    def _next(self) -> Iterator[RunEvent] | None:
        if self.closed:
            self._batches.close()
        return next(self._batches, None)

    def _give(self, events: Iterator[RunEvent], give: Callable[[RunEvent], object]) -> RunEvent | None:
        """Give events up to one before which some are missing, and return that."""
        run, last, is_ordered = self._run, self._last, self._is_ordered
        after_gap = None
        for event in events:
            if event.run_id.int != run:
                self._last_seqs[run] = last
                run = event.run_id.int
                last = self._last_seqs.get(run, 0)
            seq = event.seq
            if seq == last + 1 or (seq > last and is_ordered):
                last = seq
                give(event)
            elif seq > last:
                after_gap = event
                break
            elif self._gaps is not None:
                self._count_if_late(run, seq)
        self._run, self._last = run, last
        return after_gap

    def _past_gap(self, event: RunEvent, rest: Iterator[RunEvent]) -> Iterator[RunEvent]:
        """The events from a gap on: the rest if the file is ordered, else none, and the next by ``seq``."""
        if self._gaps is not None:
            self._gaps.setdefault(self._run, array("Q")).extend((self._last + 1, event.seq))
            self._last = event.seq - 1
            return rest
        self._is_ordered = True
        with self._reading():
            if is_ordered(_up_to_damage(Unpacker(self._file.chunks()))):
                return rest
        self._refused = self._events.number
        self._batches.close()
        self._batches = self._decode_by_seq()
        return iter(())

    def _count_if_late(self, run: int, seq: int) -> None:
        """Count an event that was missing when a later one of its run came. The others came twice."""
        gaps = (self._gaps or {}).get(run, ())
        self._late += bisect_right(gaps, seq) % 2  # each gap is its first `seq` and the first behind it

    def _decode_by_seq(self) -> Generator[Iterator[RunEvent], None, None]:
        damage: list[DamagedError] = []
        with ExitStack() as stack:
            file: BinaryIO = stack.enter_context(self._file.open())
            if self._unpacker.format:
                self._unpacker = Unpacker(self._file.chunks())
                with self._reading():
                    file = stack.enter_context(cast(BinaryIO, tempfile.TemporaryFile()))  # noqa: SIM115
                    file.writelines(_up_to_damage(self._unpacker, damage.append))
                    file.seek(0)
            with self._reading():
                self._sorted = LinesBySeq(file)
            yield from self._decode(chain(self._sorted.chunks(), _raising(damage)))

    def _decode(self, plain: Iterable[bytes]) -> Generator[Iterator[RunEvent], None, None]:
        def refuse(error: RecordError) -> None:
            self._refuse(error, self._events.line, self._events.number)

        self._lines = Lines(self._chunks(plain), MAX_LINE_BYTES, self._refuse_overlong)
        self._events = EventLines(self._lines, refuse)
        yield from self._events
        if not self.closed:
            yield self._last_event()
        if self._late:
            self._warn(
                f"{self._late} events came after later ones of their runs and were dropped: "
                "a pipe can't be put in order, a file can"
            )

    def _chunks(self, plain: Iterable[bytes]) -> Iterator[bytes]:
        with self._reading():
            for place, chunk in enumerate(plain):
                if place == 0 and (name := name_of(chunk)):
                    raise StoreError(
                        f"{self._path} is not a log: it seems to be {name}", path=str(self._path)
                    )
                if self.closed:
                    return
                yield chunk

    @contextmanager
    def _reading(self) -> Generator[None, None, None]:
        """Errors of the file, as ours."""
        try:
            yield
        except DamagedError as error:
            message = f"{self._path}: after line {self._lines.number}, {error}"
            raise StoreError(message, path=str(self._path)) from error.__cause__
        except (OSError, UnsupportedError) as error:
            raise self._failed(error) from error

    def _last_event(self) -> Iterator[RunEvent]:
        """The event of bytes that no newline ends, unless they were cut."""
        whole, tail = self._lines.number, self._lines.tail
        events: Iterator[RunEvent] = iter(())
        cut = self._unpacker.is_cut
        try:
            events = self._events.decode_tail()
            whole += bool(tail)
        except RecordError as error:
            if error.is_record or not may_be_cut(tail):
                if not whole and not error.is_record and not cut:
                    raise StoreError(
                        f"{self._path} is not a log: it has no newline and begins with {tail[:20]!r}",
                        path=str(self._path),
                    ) from error
                self._refuse(error, tail, whole + 1)
            elif not cut:
                self._warn(f"the last line, {whole + 1}, was cut and is left out")
        if cut:
            self._warn(f"the compressed file is cut after {whole} whole lines; what followed is lost")
        return events

    def _warn(self, what: str) -> None:
        if not self.closed:
            logger.warning("%s: %s", self._path, what, extra={"is_incomplete": True})

    def _refuse(self, error: RecordError, line: bytes, number: int) -> None:
        if self._sorted is not None:
            number = self._sorted.number(number)
            if number <= self._refused:
                return
        message = str(error)
        prefix = b"" if error.is_record else prefix_of(line)
        if prefix:
            message += (
                f"; it is an event behind {excerpt(prefix)!r}: strip what stands before the brace, "
                "for example with `sed 's/^[^{]*//'`"
            )
        refused = StreamProtocolError(message, raw_data=excerpt(line), line_number=number)
        if self._on_invalid == "raise":
            raise refused from error
        self._on_invalid(refused)

    def _refuse_overlong(self, number: int, start: bytes) -> None:
        self._refuse(RecordError(f"a line is longer than {MAX_LINE_BYTES:,} bytes"), start, number)

    def _failed(self, error: Exception) -> StoreError:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return StoreError(f"the log {self._path} can't be read: {reason}", path=str(self._path))


def _up_to_damage(
    chunks: Iterable[bytes], on_damage: Callable[[DamagedError], object] = lambda error: None
) -> Iterator[bytes]:
    try:
        yield from chunks
    except DamagedError as error:
        on_damage(error)


def _raising(errors: Iterable[Exception]) -> Iterator[bytes]:
    """No bytes, but the first error that there is."""
    for error in errors:
        raise error
    yield from ()
