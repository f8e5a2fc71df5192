"""What a run looks like in a terminal: a live table, or plain lines where there is none."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rxruns.costs import CostTotals, Prices
from rxruns.events import (
    NodeEvent,
    NodeFailed,
    NodeLLMCall,
    NodeStarted,
    NodeSucceeded,
    NodeToolCall,
    NodeToolResult,
    RunEvent,
    TerminalEvent,
)
from rxruns.state import NodeState, RunState

REDRAWS = 10
"""Redraws a second, at most."""

TAIL = 60
"""Characters of a node's text that the table shows."""

_MARKS = {"running": "▶", "waiting": "⏸", "succeeded": "✔", "failed": "✘", "canceled": "⊘"}
_STYLES = {
    "running": "cyan",
    "waiting": "yellow",
    "succeeded": "green",
    "failed": "red",
    "canceled": "magenta",
}


class RunView:
    """Show events as they come: give each to :meth:`update`. The last line has the totals.

    On a terminal it is redrawn ten times a second at most, whatever the events do; elsewhere a line is
    printed when a node starts, calls, ends. A node's text is never trusted: what is not printable is
    replaced.

    Args:
        prices: by (provider, model), for the cost.
        console: where to print; None for standard output.
    """

    def __init__(self, prices: Prices | None = None, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._state = RunState()
        self._costs = CostTotals(prices)
        self._tokens: dict[str, int] = {}
        self._live: Live | None = None

    def __enter__(self) -> RunView:
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                refresh_per_second=REDRAWS,
                get_renderable=self._table,
                vertical_overflow="ellipsis",
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        elif kind is None:
            self._console.print(self._summary())

    def update(self, event: RunEvent) -> None:
        """Take an event in."""
        self._state = self._state.step(event)
        self._costs = self._costs.step(event)
        if isinstance(event, NodeLLMCall) and event.llm_call.usage is not None:
            usage = event.llm_call.usage
            used = (usage.input_tokens or 0) + (usage.output_tokens or 0)
            self._tokens[event.node_id] = self._tokens.get(event.node_id, 0) + used
        if self._live is None:
            line = self._line(event)
            if line:
                self._console.print(Text(line), soft_wrap=True)

    def _line(self, event: RunEvent) -> str:
        """What is printed of an event where there is no terminal; nothing for most."""
        match event:
            case NodeStarted():
                what = "started"
            case NodeSucceeded():
                text = printable(self._node(event).text)
                what = f"succeeded: {text}" if text else "succeeded"
            case NodeFailed():
                what = f"failed: {printable(event.error.message)}"
            case NodeLLMCall():
                what = f"called {printable(event.llm_call.model or 'a model')}, {self._used(event.node_id)}"
            case NodeToolCall():
                call = event.tool_call.tool_call
                what = f"asks for {printable(f'{call.name}({call.arguments})')}"
            case NodeToolResult():
                what = f"got {printable(event.tool_result.output)}"
            case TerminalEvent():
                return f"{event.type.replace('_', ' ')}"
            case _:
                return ""
        return f"{printable(event.node_id)} {what}"

    def _node(self, event: NodeEvent) -> NodeState:
        return self._state.nodes[event.node_id]

    def _used(self, node_id: str) -> str:
        return f"{self._tokens.get(node_id, 0)} tokens"

    def _table(self) -> RenderableType:
        table = Table(
            "node", "status", "seconds", "tokens", "text", box=None, header_style="bold", expand=True
        )
        table.columns[2].justify = table.columns[3].justify = "right"
        table.columns[4].ratio = 1
        for column in table.columns:
            column.no_wrap = True
        for node_id, node in self._state.nodes.items():
            table.add_row(
                Text(printable(node_id)),
                Text(f"{_MARKS.get(node.status, ' ')} {node.status}", style=_STYLES.get(node.status, "")),
                _seconds(node),
                str(self._tokens.get(node_id, "")),
                Text(printable(node.error.message if node.error else node.text[-TAIL:])),
            )
        return Group(table, self._summary())

    def _summary(self) -> Text:
        costs = self._costs
        money = (
            f"${costs.usd:.6f}" if costs.usd is not None else f"cost unknown: no price for {costs.unpriced}"
        )
        status = self._state.status
        return Text.assemble(
            (f"run {status}", _STYLES.get(status, "")),
            f"  {costs.requests} calls, {costs.input_tokens} + {costs.output_tokens} tokens, {money}",
        )


def printable(text: str) -> str:
    """The text on one line, with what a terminal could obey replaced.

    >>> printable("a\\x1b[31mb\\nc")
    'a�[31mb c'
    """
    return "".join(char if char.isprintable() else "�" for char in " ".join(text.splitlines()))


def _seconds(node: NodeState) -> str:
    if node.started_at is None or node.ended_at is None:
        return ""
    return f"{(node.ended_at - node.started_at).total_seconds():.1f}"
