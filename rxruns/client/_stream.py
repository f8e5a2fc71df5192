"""One raw connection as a closable iterator of events: no cursor, no gap check, no resume."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from uuid import UUID

from rxruns._ndjson._decoder import Batch, EventDecoder
from rxruns._ndjson._decoding import RecordError, protocol_error, refuse_included
from rxruns._transport import Cancellation, Cancelled, OpenStream
from rxruns.errors import RunsError, StreamInterruptedError, StreamProtocolError
from rxruns.events import RunEvent

__all__ = ["RunEventStream"]


class RunEventStream(Iterator[RunEvent]):
    """Iterate the validated events of one connection; close it at the end of a ``with`` block.

    To follow a run through faults, see :func:`rxruns.run_events`. One thread iterates; any thread may
    call :meth:`cancel` or :meth:`close`.

    Raises (while iterating, after the events before):
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
        """Stop at once: the iteration ends, also while it waits. From any thread; never waits."""
        self._cancellation.cancel()

    def close(self) -> None:
        """Cancel, and close the connection. A thread that is iterating closes it itself."""
        self.cancel()
        try:
            self._events.close()
        except ValueError:  # another thread iterates
            return
        self._stream.close()

    def _read(self) -> Generator[RunEvent, None, None]:
        decoder = EventDecoder(self._max_line_bytes)
        try:
            for data in self._stream.chunks():
                for batch in decoder.feed(data):
                    yield from self._checked(batch)
            for batch in decoder.flush():  # the last line counts without a newline if it is a whole record
                if batch.error is not None and not batch.error.is_record:
                    raise StreamInterruptedError(
                        "the stream ended in the middle of a line",
                        run_id=self._run_id,
                        last_seq=self._last_seq,
                    ) from batch.error
                yield from self._checked(batch)
        except Cancelled:
            return
        finally:
            self._stream.close()

    def _checked(self, batch: Batch) -> Iterator[RunEvent]:
        """The events of a batch, up to one that is not the run's or has an output that was not requested."""
        self._cancellation.check()
        if batch.error is not None:
            raise self._refusal(batch.error, batch, 0) from batch.error
        for index, event in enumerate(batch.events):
            self._cancellation.check()  # an event that was read before isn't emitted after it
            try:
                self._check(event)
            except RecordError as error:
                raise self._refusal(error, batch, index) from error
            self._last_seq = event.seq
            yield event

    def _check(self, event: RunEvent) -> None:
        if event.run_id != self._run_id:
            raise RecordError(f"an event of another run, {event.run_id}")
        if not self._include_output:
            refuse_included(event)

    def _refusal(self, error: RecordError, batch: Batch, index: int) -> StreamProtocolError:
        return protocol_error(
            error,
            batch.lines[index],
            batch.number + index,
            redact=self._stream.redactor.text,
            run_id=self._run_id,
            last_seq=self._last_seq,
        )
