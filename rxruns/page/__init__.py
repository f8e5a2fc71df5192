"""A run as a page: one HTML file that needs no network and no server.

It has the timeline of the nodes, what went wrong, what waits, tokens and cost over time, nodes and costs as
tables, and all events to filter and search. What a run says is never trusted: its text is data in the page,
shown as text alone, and a Content-Security-Policy forbids everything but the page's own script and style.

>>> from datetime import datetime, timezone
>>> from uuid import UUID
>>> from rxruns.events import NodeStarted
>>> event = NodeStarted(run_id=UUID(int=1), seq=1, ts=datetime.now(timezone.utc), node_id="draft")
>>> page = RunPage()
>>> page.add(event)
>>> page.html().startswith("<!doctype html>")
True
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime

from rxruns._arguments import check_path
from rxruns._display._files import write_whole
from rxruns.costs import Prices
from rxruns.events import NodeLLMCall, RunEvent
from rxruns.page._columns import Columns
from rxruns.page._content import content
from rxruns.page._document import document
from rxruns.page._usage import Usage
from rxruns.state import RunState
from rxruns.state._tracks import RunTracks

__all__ = ["RunPage", "write_page"]


class RunPage:
    """Collects a run's events, and gives the page of what is there so far, as often as it is asked for.

    Args:
        prices: by (provider, model), for the cost. None: tokens alone.

    It is not for two threads at once.
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self._run = RunTracks(prices)
        self._columns = Columns()
        self._usage = Usage(prices)

    @property
    def state(self) -> RunState:
        """What is known of the run."""
        return self._run.state

    def add(self, event: RunEvent) -> None:
        """Take in an event. One that was seen before, by ``seq``, changes nothing.

        Raises:
            InvalidArgumentError: for an event of another run.
        """
        if not self._run.add(event):
            return
        self._columns.append(event, self._run.began or event.ts)
        if isinstance(event, NodeLLMCall):
            self._usage.append(event)

    def html(
        self, *, now: datetime | None = None, refresh: float | None = None, note: str | None = None
    ) -> str:
        """The page.

        Args:
            now: up to when an open run has been watched: its open nodes are drawn until then. None: until
                its last event.
            refresh: seconds after which the page loads itself again, while the run is open; None for never.
            note: a line to show on top, such as why the run could not be followed to its end.
        """
        run = self._run
        began = run.began or datetime.now(UTC)
        last = run.last or began
        is_open = run.state.final_status is None
        until = max(now, last) if is_open and now is not None else last
        told = content(run.state, run.nodes, self._columns.nodes, began, until)
        told |= {"usage": self._usage.content(began), "refresh": refresh if is_open else None, "note": note}
        return document(told, self._columns.content())

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        now: datetime | None = None,
        refresh: float | None = None,
        note: str | None = None,
    ) -> None:
        """Write the page to a file, at once or not at all: a reader never meets half of it.

        Args:
            path: the file, replaced if there is one.
            now, refresh, note: as in :meth:`html`.

        Raises:
            StoreError: it could not be written; what was there before is untouched.
        """
        write_whole(check_path("path", path), self.html(now=now, refresh=refresh, note=note).encode())


def write_page(
    path: str | os.PathLike[str], events: Iterable[RunEvent], prices: Prices | None = None
) -> RunPage:
    """Write the page of a run's events to a file.

    Args:
        path: the file, replaced if there is one, at once.
        events: of one run.
        prices: by (provider, model), for the cost.

    Raises:
        InvalidArgumentError: for events of two runs.
        StoreError: it could not be written.

    >>> import tempfile
    >>> page = write_page(os.path.join(tempfile.mkdtemp(), "run.html"), [])
    >>> page.state.last_seq
    0
    """
    page = RunPage(prices)
    for event in events:
        page.add(event)
    page.write(path)
    return page
