"""One raw connection as a closable iterator of events: no cursor, no gap check, no resume."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from uuid import UUID

from rxruns._ndjson._decoding import RecordError, decode_event, refusal, refuse_included
from rxruns._ndjson._framing import Lines
from rxruns._transport import Cancellation, Cancelled, OpenStream
from rxruns.errors import RunsError, StreamInterruptedError, StreamProtocolError
from rxruns.events import RunEvent

__all__ = ["RunEventStream"]


class RunEventStream(Iterator[RunEvent]):
    """Iterate the validated events of one connection; close it at the end of a ``with`` block.

    :func:`rxruns.run_events` resumes after faults; this doesn't. One thread iterates; any thread may call
    :meth:`cancel` or :meth:`close`.

    Raises (while iterating, after the events before the fault):
        StreamProtocolError: a line that is not a valid event, or an event of another run.
        StreamInterruptedError: the body ended in the middle of a line.
        TransportError: the body broke, or no byte was received for the client's timeout.

    >>> from rxruns.devserver import DevServer
    >>> from rxruns.testing import events
    >>> log = events.run().is_canceled()
    >>> with DevServer() as server, server.client() as client:
    ...     (run_id,) = server.serve_log(log)
    ...     with client.stream_events(run_id) as stream:
    ...         for event in stream:
    ...             print(event.seq, event.type)
    1 run_compiled
    2 run_started
    3 run_canceled
    """

    def __init__(
        self,
        stream: OpenStream,
        cancellation: Cancellation,
        *,
        run_id: UUID,
        include_output: bool,
        max_line_bytes: int,
    ) -> None:
        self._stream = stream
        self._cancellation = cancellation
        self._run_id = run_id
        self._include_output = include_output
        self._max_line_bytes = max_line_bytes
        self._last_seq = 0
        self._events = self._read()

    @property
    def request_id(self) -> str | None:
        """The service's id of the request, to quote in support requests."""
        return self._stream.request_id

    def __repr__(self) -> str:
        return f"RunEventStream(run_id={str(self._run_id)!r}, request_id={self.request_id!r})"

    def __next__(self) -> RunEvent:
        try:
            return next(self._events)
        except RunsError as error:
            ended_by = error
        self._stream.redactor.clean(ended_by, keep=sys.exception())
        try:
            raise ended_by
        finally:
            del ended_by  # which would otherwise form a reference cycle with this frame

    def __enter__(self) -> RunEventStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def cancel(self) -> None:
        """Stop the iteration at once, even one that waits. Any thread may call it; it never blocks."""
        self._cancellation.cancel()

    def close(self) -> None:
        """Cancel, and close the connection. A thread that is iterating closes it itself."""
        self.cancel()
        try:
            self._events.close()
        except ValueError:  # another thread is iterating
            return
        self._stream.close()

    def _read(self) -> Generator[RunEvent, None, None]:
        lines = Lines(self._stream.chunks(), self._max_line_bytes, self._refuse_overlong)
        try:
            for line in lines:
                event = self._event(line, lines.number)
                if event is not None:
                    yield event
            event = self._last_event(lines.tail, lines.number + 1)
            if event is not None:
                yield event
        except Cancelled:
            return
        finally:
            self._stream.close()

    def _decode(self, line: bytes) -> RunEvent | None:
        event = decode_event(line)
        if event is not None:
            if event.run_id != self._run_id:
                foreign = RecordError(f"an event of another run, {event.run_id}")
                foreign.is_record = True
                raise foreign
            if not self._include_output:
                refuse_included(event)
        return event

    def _event(self, line: bytes, number: int) -> RunEvent | None:
        self._cancellation.check()  # events that were read before are not delivered any more
        try:
            event = self._decode(line)
        except RecordError as error:
            raise self._refusal(error, line, number) from error
        if event is not None:
            self._last_seq = event.seq
        return event

    def _last_event(self, tail: bytes, number: int) -> RunEvent | None:
        """A last line without a newline counts if it is a whole record."""
        try:
            return self._decode(tail)
        except RecordError as error:
            if error.is_record:
                raise self._refusal(error, tail, number) from error
            raise StreamInterruptedError(
                "the stream ended in the middle of a line", run_id=self._run_id, last_seq=self._last_seq
            ) from error

    def _refuse_overlong(self, number: int, start: bytes) -> None:
        error = RecordError(f"a line is longer than {self._max_line_bytes:,} bytes (max_line_bytes)")
        raise self._refusal(error, start, number) from error

    def _refusal(self, error: RecordError, line: bytes, number: int) -> StreamProtocolError:
        return refusal(
            error,
            line,
            number,
            redact=self._stream.redactor.text,
            run_id=self._run_id,
            last_seq=self._last_seq,
        )
