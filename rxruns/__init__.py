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

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rxruns._version import __version__

if TYPE_CHECKING:
    from rxruns import errors, events, models, workflow
    from rxruns import operators as ops
    from rxruns._policies import ResumePolicy, RetryPolicy
    from rxruns._streams._merge_runs import RunNotFollowed, merge_runs
    from rxruns._streams._recorded import recorded_events
    from rxruns._streams._run_events import block_on, run_events, start_run
    from rxruns._threading._iteration import iterate
    from rxruns._transport import RequestMetrics
    from rxruns.client import DEFAULT_BASE_URL, RunsClient
    from rxruns.client._stream import RunEventStream
    from rxruns.costs import CostTotals, Price

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

_HOMES = {
    "DEFAULT_BASE_URL": "client",
    "CostTotals": "costs",
    "Price": "costs",
    "RequestMetrics": "_transport",
    "ResumePolicy": "_policies",
    "RetryPolicy": "_policies",
    "RunEventStream": "client._stream",
    "RunNotFollowed": "_streams._merge_runs",
    "RunsClient": "client",
    "block_on": "_streams._run_events",
    "iterate": "_threading._iteration",
    "merge_runs": "_streams._merge_runs",
    "recorded_events": "_streams._recorded",
    "run_events": "_streams._run_events",
    "start_run": "_streams._run_events",
}
"""The module of each name."""


_MODULES = {
    "client",
    "costs",
    "cursors",
    "errors",
    "events",
    "folds",
    "lifecycle",
    "models",
    "operators",
    "ops",
    "schemas",
    "state",
    "structschema",
    "tools",
    "workflow",
}
"""The public modules that need no import of their own: ``rxruns.state`` works after ``import rxruns``."""


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that a program loads what it uses: HTTP and RxPY take 0.2 s."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
