"""Stores of cursors: for each ``run_id``, the ``seq`` of the last handled event.

``run_events(run_id, after_seq=store.get(run_id)).pipe(..., ops.checkpoint(store))`` resumes where the last
process stopped.

>>> from uuid import UUID
>>> store = MemoryCursors()
>>> run_id = UUID("7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11")
>>> store.set(run_id, 41)
>>> store.get(run_id)
41

A store also leases runs, so that workers share them: ``merge_runs(ids, claim=store)``. A lease has an owner,
a time after which it expires, and a fencing number, which increases with each claim. A cursor that is set
under a lease is stored only while the lease has this owner and number.

>>> lease = store.claim(run_id)
>>> lease.number, store.claim(run_id)
(1, None)
>>> lease.finish(42)
>>> store.get(run_id), store.ended(run_id)
(42, True)
"""

from rxruns.cursors._lease import Lease
from rxruns.cursors._leases import LeaseStore
from rxruns.cursors._memory import MemoryCursors
from rxruns.cursors._postgres import PostgresCursors
from rxruns.cursors._sqlite import SqliteCursors
from rxruns.cursors._store import CursorStore

__all__ = ["CursorStore", "Lease", "LeaseStore", "MemoryCursors", "PostgresCursors", "SqliteCursors"]
