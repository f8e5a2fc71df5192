"""A runs service that plays a script of steps."""

from __future__ import annotations

import ssl
from typing import Any

from rxruns._errors import must_be
from rxruns._loopback import Wire
from rxruns._policies import ResumePolicy, RetryPolicy
from rxruns.client import RunsClient
from rxruns.events import RunEvent
from rxruns.testing import events
from rxruns.testing._loopback import HANG, Loopback
from rxruns.testing._request import Request
from rxruns.testing._steps import Answer, Call, Step, refuses
from rxruns.testing._unscripted import call_of, unscripted

__all__ = ["QUICK", "FakeRuns"]

QUICK = ResumePolicy(base_backoff=0.001, max_backoff=0.01)
"""The default policy with delays of milliseconds: ``run_events(..., resume=QUICK)``."""

_RETRY = RetryPolicy(base_backoff=0.001, max_backoff=0.01)
_OVER = refuses(410, "SCRIPT_OVER", "the script of FakeRuns is over, and the client requested events again")
_BUSY = refuses(
    409, "STREAM_OPEN", "another stream of this FakeRuns has steps left: use one FakeRuns for each run"
)


class FakeRuns(Loopback):
    """A runs service on loopback that answers requests for events with a script, and keeps all requests.

    One stream after the other takes steps: ``sends`` leaves a stream open for the next step, ``ends``,
    ``drops``, ``resets`` and ``hangs`` are the last of their stream, and ``refuses`` is an answer by itself.
    After the last step an open stream ends, and a further request for events gets an error that says so.

    All other requests are answered from the events sent so far: a run is created, its status returned, its
    waiting calls listed, tool results accepted. ``replies(..., to="status")`` and ``refuses(to="create")``
    answer one request of that kind instead, wherever they stand in the script. For several runs at once use
    one `FakeRuns` each, or :class:`~rxruns.devserver.DevServer`.

    Args:
        script: the steps.
        tls: the server's side of it; None: plain HTTP.

    Raises:
        InvalidArgumentError: `script` holds something other than a step.

    Attributes:
        api_key: a key for clients; it isn't checked.

    >>> from rxruns import block_on, ops, run_events
    >>> from rxruns.testing import drops, refuses, sends
    >>> log = events.run().node("draft").text("Hi").succeeds()
    >>> script = sends(log[:3]), drops(), refuses(503), sends(log[3:])
    >>> with FakeRuns(*script) as service, service.client() as client:
    ...     seen = block_on(run_events(log.run_id, client=client, resume=QUICK).pipe(ops.to_list()))
    >>> seen == list(log), [request.after_seq for request in service.streams], service.unplayed
    (True, [0, 3, 3], ())
    """

    def __init__(self, *script: Step, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        for step in script:
            if not isinstance(step, Step):
                raise must_be("script", "steps, each called, as in sends(log), drops()", step)
        self.api_key: str = "mr_sk_fake"
        self._script = [step for step in script if step.to == "events"]
        self._answers = [step for step in script if step.to != "events"]
        self._turn: Answer | None = None  # takes the next steps, while its stream is open
        self._sent: list[RunEvent] = []
        run_ids = [part.run_id for step in script for part in step.parts if isinstance(part, RunEvent)]
        self._run_ids = [*run_ids, events.RUN_ID]

    def __repr__(self) -> str:
        return f"FakeRuns({', '.join(map(repr, self.unplayed))})"

    @property
    def streams(self) -> list[Request]:
        """The requests for events."""
        with self._changed:
            return [request for request in self.requests if call_of(request) == "events"]

    @property
    def unplayed(self) -> tuple[Step, ...]:
        """The steps that no request has used yet."""
        with self._changed:
            return (*self._script, *self._answers)

    def client(self, **options: Any) -> RunsClient:
        """Make a client that retries without waiting; `options` as for :class:`~rxruns.RunsClient`.

        Close it yourself. It ignores proxies of the environment, unless `options` have a `base_url` or a
        `session`.
        """
        named: dict[str, Any] = {"api_key": self.api_key, "base_url": self.url, "retry": _RETRY}
        client = RunsClient(**named | options)
        if "base_url" not in options:
            client._ignore_proxies()
        return client

    def _answer(self, request: Request, wire: Wire) -> bool:
        answer = Answer(wire, self._sent)
        call = call_of(request)
        if call != "events":
            return self._other(call, request).play(answer) == "keep"
        try:
            while step := self._next(answer):
                then = step.play(answer)
                if then != "next":
                    return then == "keep"
        finally:
            self._pass_turn(None, instead_of=answer)
        answer.end()
        return True

    def _next(self, answer: Answer) -> Step | None:
        """Take the next step of this answer; None when it is complete.

        A client that reconnects waits until the steps of the stream that it left are over. A second client
        beside the first waits in vain, and gets an error that says so.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._turn in (None, answer), HANG):
                return _BUSY
            if not self._script or (answer.is_open and self._script[0].is_whole):
                return None if answer.is_open else _OVER
            step = self._script.pop(0)
            self._pass_turn(None if step.is_last else answer, instead_of=answer)
            return step

    def _pass_turn(self, answer: Answer | None, *, instead_of: Answer) -> None:
        with self._changed:
            if self._turn in (None, instead_of):
                self._turn = answer
                self._changed.notify_all()

    def _other(self, call: Call | None, request: Request) -> Step:
        with self._changed:
            for step in self._answers:
                if step.to == call:
                    self._answers.remove(step)
                    return step
            run_id = next((known for known in self._run_ids if str(known) in request.path), self._run_ids[0])
            return unscripted(call, request, run_id, self._sent)
