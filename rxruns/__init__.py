"""rxruns turns the event log of an LLM workflow run into an RxPY Observable.

::

    from rxruns import block_on, ops, run_events
    from rxruns.events import NodeOutputDelta

    block_on(run_events(run_id).pipe(
        ops.for_node("summarize"),
        ops.of_type(NodeOutputDelta),
        ops.tap(lambda event: print(event.delta.text_delta or "", end="")),
    ))

``run_events(run_id).pipe(ops.filter(...)).subscribe(...)`` is the same without waiting: the reader's thread
is a daemon, so a script needs something that keeps it alive.
"""

import sys

# First, because urllib3 compiles long regular expressions: deeper among imports that can go back and forth
# over the edge of a block of CPython's frames, which is mapped and unmapped each time (a sixth of an import).
from rxruns._transport import RequestMetrics

# isort: split
from rxruns import errors, events, models, workflow
from rxruns import operators as ops
from rxruns._policies import ResumePolicy, RetryPolicy
from rxruns._streams._merge_runs import RunNotFollowed, merge_runs
from rxruns._streams._recorded import recorded_events
from rxruns._streams._run_events import block_on, run_events, start_run
from rxruns._threading._iteration import iterate
from rxruns._version import __version__
from rxruns.client import DEFAULT_BASE_URL, RunsClient
from rxruns.client._stream import RunEventStream
from rxruns.costs import CostTotals, Price

# So that `from rxruns.ops import text` works. Type checkers read ops.pyi.
sys.modules[f"{__name__}.ops"] = ops

__all__ = [
    "DEFAULT_BASE_URL",
    "CostTotals",
    "Price",
    "RequestMetrics",
    "ResumePolicy",
    "RetryPolicy",
    "RunEventStream",
    "RunNotFollowed",
    "RunsClient",
    "__version__",
    "block_on",
    "errors",
    "events",
    "iterate",
    "merge_runs",
    "models",
    "ops",
    "recorded_events",
    "run_events",
    "start_run",
    "workflow",
]
