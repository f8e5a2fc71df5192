"""Screenshots of the command line as SVG: ``python docs/screenshots/terminal.py`` writes the files again.

The same files each time: a made-up run in virtual time, drawn by the view itself.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from msgspec.structs import replace
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from rxruns.cli._cost import table
from rxruns.cli._panel import Panel
from rxruns.cli._table import Tables
from rxruns.costs import CostTotals, fold
from rxruns.events import NodeStarted
from rxruns.lifecycle import Connected, Reconnecting, Resumed

sys.path.insert(0, str(Path(__file__).parent))
import sample

HERE = Path(__file__).parent
OTHER = UUID("0b6b2c1e-52a7-4f0e-8f5a-7f6e7a4a0c22")

# Fonts of the machine that shows it: an image in a page may fetch nothing.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def pictures() -> dict[str, str]:
    """The files, by their names."""
    return {"watch.svg": drawn(watch), "cost.svg": drawn(cost)}


def drawn(show: Callable[[Console], None], width: int = 120) -> str:
    """Return the output of a function as SVG of a terminal."""
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    show(console)
    return console.export_svg(title="rxruns", code_format=FORMAT, unique_id=show.__name__)


def watch(console: Console) -> None:
    """Two open runs: one waits for a person, one has just lost its connection."""
    ids = f"{str(sample.RUN)[:8]}… {str(OTHER)[:8]}…"
    console.print(Text.assemble(("$ ", "dim"), f"rxruns watch {ids} --prices prices.json"))
    first, second = Panel(sample.RUN, sample.PRICES), Panel(OTHER, sample.PRICES)
    events = sample.events(4)
    for event in events:
        first.update(event)
    first.planned = tuple(
        dict.fromkeys(event.node_id for event in events if isinstance(event, NodeStarted))
    ) + ("publish",)
    for event in events[: len(events) // 3]:
        second.update(replace(event, run_id=OTHER))
    lost = Reconnecting(
        run_id=OTHER, attempt=1, delay=0.3, cause=ConnectionError("the stream broke: connection reset")
    )
    for value in (
        Connected(run_id=OTHER, after_seq=0, request_id=None),
        lost,
        Resumed(run_id=OTHER, after_seq=20, request_id=None),
        lost,
    ):
        second.note(value)
    now = events[-1].ts + timedelta(seconds=0.4)
    console.print(Tables([first, second], now, console.width, None))


def cost(console: Console) -> None:
    """The cost of two runs."""
    console.print(Text.assemble(("$ ", "dim"), "rxruns cost run.ndjson other.ndjson --prices prices.json"))
    events = sample.events(4)
    costs: dict[UUID, CostTotals] = {
        sample.RUN: fold(events, sample.PRICES),
        OTHER: fold(events[: len(events) // 2], sample.PRICES),
    }
    console.print(table(costs, console))


if __name__ == "__main__":
    for name, picture in pictures().items():
        (HERE / name).write_text(picture, "utf-8")
