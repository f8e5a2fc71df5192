"""One warning for a run that waits for its client in vain."""

from __future__ import annotations

import logging
import time

from rxruns.events import NodeToolResult, NodeUserAnswer, NodeWaiting, RunEvent

__all__ = ["WAITING_EVENTS", "WaitingNotice"]

logger: logging.Logger = logging.getLogger("rxruns")

WAITING_EVENTS: frozenset[type] = frozenset((NodeWaiting, NodeToolResult, NodeUserAnswer))
"""Types of events that begin or end a wait."""

PATIENCE = 10.0
"""Seconds that a tool may take without a warning."""


class WaitingNotice:
    """Logs once that a node has waited for tool results, or an answer, without another event."""

    def __init__(self) -> None:
        self._node_id = ""
        self._since: float | None = None
        self._is_logged = False

    def note(self, event: RunEvent) -> None:
        """Note an event that begins or ends a wait."""
        if isinstance(event, NodeWaiting):
            self._node_id, self._since = event.node_id, time.monotonic()
        else:
            self._since = None

    def look(self, run_id: object) -> None:
        """Log the wait if it has lasted. Call it when the service has no new events."""
        if self._since is None or self._is_logged:
            return
        waited = time.monotonic() - self._since
        if waited >= PATIENCE:
            self._is_logged = True
            logger.warning(
                "run %s: node %r has waited for its client for %.0f s; ops.execute_tools(...), or "
                "`rxruns answer %s` in a terminal, answers tool calls and questions",
                run_id,
                self._node_id,
                waited,
                run_id,
            )
