"""For tests of your own code: builders of events, a scripted service, marbles for runs, comparisons of runs.

>>> from rxruns.testing import drops, events, sends
>>> log = events.run().node("draft").text("Hi").succeeds()
>>> [event.type for event in log][-1]
'run_completed'
>>> sends(log[0]), drops()
(sends(run_compiled), drops())

The fixtures for pytest are ``runs_service``, ``runs_client``, ``runs_environment`` and ``fake_runs``.

.. deprecated:: 0.2
   ``Asked`` is the former name of :class:`Request`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from rxruns.testing import events
from rxruns.testing._compare import RunComparison, compare_runs
from rxruns.testing._difference import RunDifference
from rxruns.testing._fake import QUICK, FakeRuns
from rxruns.testing._figures import NodeFigures, RunFigures
from rxruns.testing._marbles import Played, drawn, play, subscription_times
from rxruns.testing._request import Request
from rxruns.testing._steps import Step, drops, ends, hangs, refuses, replies, resets, sends, waits_for
from rxruns.testing.events import RunLog

__all__ = [
    "QUICK",
    "FakeRuns",
    "NodeFigures",
    "Played",
    "Request",
    "RunComparison",
    "RunDifference",
    "RunFigures",
    "RunLog",
    "Step",
    "compare_runs",
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

if not TYPE_CHECKING:  # pragma: no branch -- a type checker refuses the old name

    def __getattr__(name: str) -> Any:
        if name != "Asked":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(
            "rxruns.testing.Asked is deprecated and will be removed in 0.4; use rxruns.testing.Request",
            DeprecationWarning,
            stacklevel=2,
        )
        return Request
