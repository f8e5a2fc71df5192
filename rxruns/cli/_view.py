"""Runs in a terminal: a live table, or plain lines elsewhere."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from uuid import UUID

from reactivex import abc
from reactivex.disposable import SerialDisposable
from reactivex.scheduler import EventLoopScheduler
from rich.console import Console, RenderableType
from rich.control import Control
from rich.live import Live

from rxruns._display._text import duration
from rxruns._display._visible import one_line
from rxruns.cli import _lines
from rxruns.cli._output import Lines, OutputError
from rxruns.cli._panel import LONG_WAIT, PIECES, Panel, answer_command
from rxruns.cli._table import Tables
from rxruns.costs import Prices
from rxruns.events import RunEvent

REDRAWS = 10
"""The most redraws per second."""

SHARE = 0.05
"""The share of one core that drawing may use."""


def pause(cost: float) -> float:
    """Return the seconds to wait after a redraw that took `cost` seconds of CPU.

    >>> pause(0.001), pause(0.05)
    (0.1, 1.0)
    """
    return max(1 / REDRAWS, cost / SHARE)


class RunView:
    """Show runs live: pass each event to the panel of its run, or to :meth:`update`.

    A terminal is redrawn at most ten times per second, less often if drawing is slow, and once for a run that
    is shorter than a tenth of a second. In a pipe, with ``NO_COLOR`` or on a dumb terminal, lines are printed
    for the starts, calls and ends of nodes. Text of a run is untrusted: control characters are replaced.

    Args:
        prices: by (provider, model), for the cost.
        console: the output; None for standard output.
        scheduler: schedules redraws, and is the clock of running nodes; None for a thread of its own.
        is_replay: the events are old; the last one is the clock of running nodes.
        cpu: returns the CPU seconds of the calling thread, by which slow redraws become rarer.
    """

    def __init__(
        self,
        prices: Prices | None = None,
        console: Console | None = None,
        scheduler: abc.SchedulerBase | None = None,
        *,
        is_replay: bool = False,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._prices = prices
        self._console = console or Console(highlight=False)
        self.is_live = _draws(self._console)
        self._is_replay = is_replay
        self._cpu = cpu
        self._panels: dict[UUID | None, Panel] = {}
        # In a replay without a table, only events are printed.
        is_timed = self.is_live or not is_replay
        self._own = EventLoopScheduler() if is_timed and scheduler is None else None
        self._scheduler = scheduler or self._own
        self._timer = SerialDisposable()
        self._drawing = threading.Lock()
        self._now: datetime | None = None
        self._is_closing = False
        self._size = self._console.size
        self._live = Live(console=self._console, auto_refresh=False, get_renderable=self._renderable)
        self._lines: Lines | None = None

    def __enter__(self) -> RunView:
        if self._scheduler is not None and self.is_live:
            self._live.start()
            self._after(1 / REDRAWS, self._scheduler, self._redraw)
        else:
            self._lines = Lines(self._console.file)  # type: ignore[arg-type]
            if self._scheduler is not None and not self._is_replay:
                self._after(LONG_WAIT, self._scheduler, self._print_waits)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.dispose()
        with self._drawing:  # a redraw in progress finishes, and no other begins
            self._is_closing = True  # the last drawing has all lines
        if self._lines is None:
            self._live.stop()
        elif kind is None:
            for panel in self._panels.values():
                self._lines.write(_lines.summary(panel))
        if self._own is not None:
            self._own.dispose()

    def panel(self, run_id: UUID | None = None) -> Panel:
        """Return the panel of a run, made at the first call."""
        panel = self._panels.get(run_id)
        if panel is None:
            panel = Panel(run_id, self._prices, PIECES if self.is_live else _lines.PIECES)
            self._panels[run_id] = panel
        return panel

    @property
    def panels(self) -> list[Panel]:
        """All panels, in the order of their first use."""
        return list(self._panels.values())

    def updating(self, panel: Panel) -> Callable[[RunEvent], None]:
        """Return the function that takes in the events of one run, on its reader's thread."""
        if self._lines is None:
            return panel.update
        lines = self._lines

        def update(event: RunEvent) -> None:
            panel.update(event)
            text = _lines.line(event, panel)
            if text:
                lines.write(self._labeled(panel, text))

        return update

    def update(self, event: RunEvent) -> None:
        """Take in an event of any run."""
        self.updating(self.panel(event.run_id))(event)

    def _print_waits(self, scheduler: abc.SchedulerBase, state: object = None) -> None:
        """Print the nodes that wait, and schedule the next time. Runs on the scheduler's thread."""
        with self._drawing:
            if self._is_closing or self._lines is None:
                return
            for panel in self.panels:
                for node_id, seconds in panel.waited(scheduler.now).items():
                    text = f"{one_line(node_id)} has waited for {duration(seconds)}"
                    if panel.can_be_answered:
                        text += f": {answer_command(panel.run_id, node_id)}"
                    # A closed pipe is handled where events are printed.
                    with suppress(OutputError):
                        self._lines.write(self._labeled(panel, text))
        self._after(LONG_WAIT, scheduler, self._print_waits)

    def _labeled(self, panel: Panel, text: str) -> str:
        """Return a line of a run, with its id if there are several runs."""
        return f"{str(panel.run_id)[:8]} {text}" if len(self._panels) > 1 else text

    def _redraw(self, scheduler: abc.SchedulerBase, state: object = None) -> None:
        """Draw, and schedule the next time. Runs on the scheduler's thread."""
        before = self._cpu()
        with self._drawing:
            if self._is_closing:
                return
            self._clear_after_resize()
            self._live.refresh()
        self._after(pause(self._cpu() - before), scheduler, self._redraw)

    def _after(
        self, seconds: float, scheduler: abc.SchedulerBase, action: abc.ScheduledAction[object]
    ) -> None:
        self._timer.disposable = scheduler.schedule_relative(timedelta(seconds=seconds), action)

    def _clear_after_resize(self) -> None:
        """Clear a resized terminal: it has wrapped the lines, so their position is unknown."""
        if self._console.size != self._size:
            self._size = self._console.size
            self._console.control(Control.home(), Control.clear())

    def _renderable(self) -> RenderableType:
        if self._scheduler is not None and not self._is_replay:
            self._now = self._scheduler.now
        height = None if self._is_closing else self._console.height
        return Tables(self.panels, self._now, self._console.width, height)


def _draws(console: Console) -> bool:
    """Return True if the console is a terminal that can show a table."""
    plain = console.is_dumb_terminal or os.environ.get("NO_COLOR")
    return console.is_terminal and not plain and console.encoding.startswith("utf")
