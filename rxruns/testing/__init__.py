"""For tests of your own code: builders of events, a scripted service, marbles for runs.

>>> from rxruns.testing import drops, events, sends
>>> log = events.run().node("draft").text("Hi").succeeds()
>>> [event.type for event in log][-1]
'run_completed'
>>> sends(log[0]), drops()
(sends(run_compiled), drops())

The fixtures for pytest are ``runs_service``, ``runs_client``, ``runs_environment`` and ``fake_runs``.
"""

from __future__ import annotations

from rxruns.testing import events
from rxruns.testing._asked import Asked
from rxruns.testing._fake import QUICK, FakeRuns
from rxruns.testing._marbles import Played, drawn, play, subscription_times
from rxruns.testing._steps import Step, drops, ends, hangs, refuses, replies, resets, sends, waits_for
from rxruns.testing.events import RunLog

__all__ = [
    "QUICK",
    "Asked",
    "FakeRuns",
    "Played",
    "RunLog",
    "Step",
    "drawn",
    "drops",
    "ends",
    "events",
    "hangs",
    "play",
    "refuses",
    "replies",
    "resets",
    "sends",
    "subscription_times",
    "waits_for",
]
