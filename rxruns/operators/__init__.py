"""RxPY's operators, and operators for the events of runs: ``from rxruns import ops``.

Single operators can be imported from there too: ``from rxruns.ops import text``.

RxPY's operators are its own functions. Some (``filter``, ``map``, ``tap`` ...) have other types here, so that
a lambda in a ``pipe`` passes mypy.

========================  =============================================================
choose                    :func:`for_node`, :func:`of_type`
gather                    :func:`buffer_until_complete`, :func:`buffer_nodes`
fold                      :func:`fold`, :func:`fold_windows`, :func:`cost_totals`, :func:`run_state`
follow                    :func:`text`, :func:`node_spans`, :func:`event_time`, :func:`overdue`
end with an error         :func:`raise_on_failure`, :func:`budget`
keep                      :func:`checkpoint`, :func:`record`
act                       :func:`execute_tools`, :func:`handle`
one run at a time         :func:`each_run`
change threads            :func:`handoff`
========================  =============================================================
"""

# ruff: noqa: F403 -- `_rxpy` lists what the star stands for

from rxruns.operators import _rxpy
from rxruns.operators._acting import execute_tools
from rxruns.operators._budget import budget
from rxruns.operators._buffer import NodeEvents, buffer_nodes, buffer_until_complete
from rxruns.operators._each_run import each_run
from rxruns.operators._flow import handoff
from rxruns.operators._fold import cost_totals
from rxruns.operators._folding import fold
from rxruns.operators._guard import raise_on_failure
from rxruns.operators._handle import handle
from rxruns.operators._live import event_time, node_spans, run_state, text
from rxruns.operators._overdue import Overdue, overdue
from rxruns.operators._record import record
from rxruns.operators._rxpy import *
from rxruns.operators._select import for_node, of_type
from rxruns.operators._store import checkpoint
from rxruns.operators._typed import do_action, filter, first, last, map, take_while, tap
from rxruns.operators._windows import fold_windows

__all__ = [
    "NodeEvents",
    "Overdue",
    "budget",
    "buffer_nodes",
    "buffer_until_complete",
    "checkpoint",
    "cost_totals",
    "do_action",
    "each_run",
    "event_time",
    "execute_tools",
    "filter",
    "first",
    "fold",
    "fold_windows",
    "for_node",
    "handle",
    "handoff",
    "last",
    "map",
    "node_spans",
    "of_type",
    "overdue",
    "raise_on_failure",
    "record",
    "run_state",
    "take_while",
    "tap",
    "text",
]
__all__ += _rxpy.__all__
