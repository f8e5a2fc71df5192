"""The events of one recorded log, read in batches by the Observable of :mod:`rxruns._streams._recorded`."""

from __future__ import annotations

import logging
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

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
from rxruns._ndjson._dead_letter import dead_letter_event
from rxruns._ndjson._decoder import Batch, EventDecoder
from rxruns._ndjson._decoding import RecordError, protocol_error
from rxruns._ndjson._framing import may_be_cut
from rxruns._streams._following import OnInvalid
from rxruns.errors import EXCERPT, StoreError
from rxruns.events import RunEvent

__all__ = ["RecordedLog"]

logger: logging.Logger = logging.getLogger("rxruns")


class RecordedLog:
    """The events of one file, read once. Any thread may close it; the batch that was begun is the last then.

    Each run's events are emitted in ``seq`` order. While a run has no gap, an event that comes late was
    emitted before. At the first gap a file is searched: if any event comes after a later one, the rest is
    read by ``seq``. A pipe can't be, so late events are counted and dropped.

    Attributes:
        error: the error that ended the reading early. It isn't raised, so that it can't be mistaken for an
            error of the code that gets the events.

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
        self._done = 0  # lines up to this one were refused or emitted before the file was sorted
        self._unpacker = Unpacker(self._file.chunks())
        self._decoder = EventDecoder()
        self._batches = self._decode(self._unpacker)

    def close(self) -> None:
        self.closed = True
        self._file.close()

    def read(self, emit: Callable[[RunEvent], object]) -> bool:
        """Emit the next batch of events, without duplicates. False: there are no more."""
        batch = self._next()
        if batch is not None:
            self._emit(batch, emit)
        if batch is None or self.error is not None:
            self._file.close()
            return False
        return True

    def _next(self) -> Batch | None:
        try:
            if self.closed:
                self._batches.close()
            return next(self._batches, None)
        except Exception as error:
            self.error = error
            return None

    def _emit(self, batch: Batch, emit: Callable[[RunEvent], object]) -> None:
        """Emit events up to one before which some are missing, if the rest is to be read by ``seq``."""
        run, last = self._run, self._last
        for event in batch.events:
            if event.run_id.int != run:
                self._last_seqs[run] = last
                run = event.run_id.int
                last = self._last_seqs.get(run, 0)
            seq = event.seq
            if seq == last + 1 or (seq > last and (self._is_ordered or self._passes_gap(run, last, seq))):
                last = seq
                emit(event)
            elif seq > last:
                self._done = batch.number + [other is event for other in batch.events].index(True)
                break
            elif self._gaps is not None:
                self._count_if_late(run, seq)
        self._run, self._last = run, last

    def _passes_gap(self, run: int, last: int, seq: int) -> bool:
        """Return whether to read on past a gap. If not, the lines follow by ``seq``, or an error is set."""
        if self._gaps is not None:
            self._gaps.setdefault(run, array("Q")).extend((last + 1, seq))
            return True
        try:
            with self._reading():
                is_in_order = is_ordered(_up_to_damage(Unpacker(self._file.chunks())))
        except StoreError as error:
            self.error = error
            return False
        self._is_ordered = True
        if not is_in_order:
            self._batches.close()
            self._batches = self._decode_by_seq()
        return is_in_order

    def _count_if_late(self, run: int, seq: int) -> None:
        """Count an event that follows a later one of its run. The others are duplicates."""
        gaps = (self._gaps or {}).get(run, ())
        self._late += bisect_right(gaps, seq) % 2  # each gap is its first `seq` and the first behind it

    def _decode_by_seq(self) -> Generator[Batch, None, None]:
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

    def _decode(self, plain: Iterable[bytes]) -> Generator[Batch, None, None]:
        self._decoder = EventDecoder()
        for data in self._chunks(plain):
            yield from self._events(self._decoder.feed(data))
        if not self.closed:
            yield from self._tail()
        if self._late:
            self._warn(
                f"{self._late} events followed later ones of their runs and were dropped: "
                "a pipe can't be put in order, a file can"
            )

    def _events(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches with events. Bad lines are refused in their place, unless they are dead letters."""
        for batch in batches:
            if batch.error is not None:
                event = dead_letter_event(batch.lines[0])
                if event is None:
                    self._refuse(batch.error, batch.lines[0], batch.number)
                else:
                    yield Batch(batch.number, batch.lines, [event])
            elif batch.events:
                yield batch

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
        """Convert errors of the file."""
        try:
            yield
        except DamagedError as error:
            message = f"{self._path}: after line {self._decoder.number}, {error}"
            raise StoreError(message, path=str(self._path)) from error.__cause__
        except (OSError, UnsupportedError) as error:
            raise self._failed(error) from error

    def _tail(self) -> Iterator[Batch]:
        """The event of bytes that no newline ends, unless they were cut."""
        whole = self._decoder.number
        for batch in self._decoder.flush():
            if not self._is_left_out(batch, whole):
                yield from self._events([batch])
            whole += batch.error is None
        if self._unpacker.is_cut:
            self._warn(f"the compressed file is cut after {whole} whole lines; what followed is lost")

    def _is_left_out(self, batch: Batch, whole: int) -> bool:
        error, line = batch.error, batch.lines[0]
        if error is None or error.is_record:
            return False
        if may_be_cut(line):
            if not self._unpacker.is_cut:
                self._warn(f"the last line, {batch.number}, was cut and is left out")
            return True
        if not whole and not self._unpacker.is_cut:
            raise StoreError(
                f"{self._path} is not a log: it has no newline and begins with {line[:20]!r}",
                path=str(self._path),
            ) from error
        return False

    def _warn(self, warning: str) -> None:
        if not self.closed:
            logger.warning("%s: %s", self._path, warning, extra={"is_incomplete": True})

    def _refuse(self, error: RecordError, line: bytes, number: int) -> None:
        if self._sorted is not None:
            number = self._sorted.number(number)
            if number <= self._done:
                return
        message = str(error)
        prefix = b"" if error.is_record else prefix_of(line)
        if prefix:
            text = prefix[:EXCERPT].decode("utf-8", "replace")
            message += (
                f"; it is an event behind {text!r}: strip the prefix, for example with `sed 's/^[^{{]*//'`"
            )
        refused = protocol_error(error, line, number, message=message)
        if self._on_invalid == "raise":
            raise refused from error
        self._on_invalid(refused)

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
    """Raise the first error, if there is one; no bytes."""
    for error in errors:
        raise error
    yield from ()
