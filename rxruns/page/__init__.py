"""A run as a page: one HTML file that needs no network and no server.

It shows the timeline of the nodes, errors, waits, tokens and cost over time, nodes and costs as tables, and
all events to filter and search. The text of a run is never trusted: it is data in the page, rendered as text
only, and a Content-Security-Policy forbids everything but the page's own script and style.

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
from rxruns.state._spans import RunHistory

__all__ = ["RunPage", "write_page"]


class RunPage:
    """Collects a run's events and renders the page at any time.

    Not safe to use from two threads at once.

    Args:
        prices: by (provider, model), for the cost. None: the page shows tokens alone.
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self._run = RunHistory(prices)
        self._columns = Columns()
        self._usage = Usage(prices)

    @property
    def state(self) -> RunState:
        """The state of the run."""
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
        """Return the page as HTML.

        Args:
            now: the end of the open nodes' bars, while the run is open. None: its last event.
            refresh: seconds between the page's reloads of itself, while the run is open; None for none.
            note: a line shown on top, such as the reason why the run could not be followed to its end.
        """
        run = self._run
        began = run.began or datetime.now(UTC)
        is_open = run.state.final_status is None
        data = content(run, self._columns.nodes, began, run.until(now) or max(began, now or began))
        data |= {"usage": self._usage.content(began), "refresh": refresh if is_open else None, "note": note}
        return document(data, self._columns.content())

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        now: datetime | None = None,
        refresh: float | None = None,
        note: str | None = None,
    ) -> None:
        """Write the page to a file atomically: a reader never sees half of it.

        Args:
            path: the file; replaced if it exists.
            now, refresh, note: as in :meth:`html`.

        Raises:
            StoreError: it could not be written; an existing file is unchanged.
        """
        write_whole(check_path("path", path), self.html(now=now, refresh=refresh, note=note).encode())


def write_page(
    path: str | os.PathLike[str], events: Iterable[RunEvent], prices: Prices | None = None
) -> RunPage:
    """Write the page of a run's events to a file.

    Args:
        path: the file; replaced atomically if it exists.
        events: the events of one run.
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
