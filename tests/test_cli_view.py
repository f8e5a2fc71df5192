"""Runs in a terminal: drawn by rich in virtual time, and in a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.scheduler import HistoricalScheduler
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions

from rxruns.cli import printed_warnings
from rxruns.cli._following import report
from rxruns.cli._panel import KEEP, PIECES, Panel
from rxruns.cli._selecting import Selection
from rxruns.cli._table import _end
from rxruns.cli._view import REDRAWS, RunView, pause
from rxruns.cli._watch import noting
from rxruns.costs import Price
from rxruns.devserver import DevServer
from rxruns.errors import RunsError
from rxruns.events import (
    LLMCall,
    NodeError,
    NodeFailed,
    NodeLLMCall,
    NodeOutputDelta,
    NodeStarted,
    NodeSucceeded,
    OutputDelta,
    RunEvent,
    RunFailed,
    RunStarted,
    TokenUsage,
)
from rxruns.lifecycle import Connected, Reconnecting, Resumed
from tests.commands import unfinished
from tests.conftest import HANG
from tests.making import CALL_ID, HASH, NOON, RUN
from tests.observing import run_of
from tests.waiting import tool_result, user_answer, user_ask, waiting

SHORT = str(RUN)[:8]
PRICES = {("openai", "gpt-5"): Price(1, 10)}


def at(seconds: float) -> dict[str, Any]:
    """The envelope of an event at that time."""
    return {"run_id": RUN, "seq": int(seconds * 1000) + 1, "ts": NOON + timedelta(seconds=seconds)}


def delta(seconds: float, text: str, node_id: str = "draft") -> NodeOutputDelta:
    return NodeOutputDelta(
        **at(seconds), node_id=node_id, delta=OutputDelta(kind="message_delta", text_delta=text)
    )


def call(seconds: float, node_id: str = "draft") -> NodeLLMCall:
    usage = TokenUsage(input_tokens=1000, output_tokens=234)
    called = LLMCall(step=0, request_id=CALL_ID, provider="openai", model="gpt-5", usage=usage)
    return NodeLLMCall(**at(seconds), node_id=node_id, llm_call=called)


RUNNING: list[RunEvent] = [
    RunStarted(**at(0), plan_hash=HASH),
    NodeStarted(**at(0.5), node_id="draft"),
    delta(1, "Once upon "),
    delta(2, "a time"),
    call(3),
]


class Terminal:
    """A terminal in virtual time, with a view of one run: its lines, and the number of redraws."""

    def __init__(self, width: int = 120, height: int = 24, **options: Any) -> None:
        self.file = io.StringIO()
        self.console = Console(
            file=self.file, width=width, height=height, force_terminal=True, color_system="truecolor"
        )
        self.clock = HistoricalScheduler(NOON)
        self.view = RunView(PRICES, self.console, self.clock, cpu=lambda: 0.0, **options)
        self.panel = self.view.panel(RUN)

    def __enter__(self) -> Terminal:
        self.view.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.view.__exit__(*raised)

    def show(self, *events: RunEvent, until: float) -> list[str]:
        """Take in these events, and return the lines of the table `until` seconds after noon."""
        for event in events:
            self.view.update(event)
        self.file.seek(0)
        self.file.truncate()
        self.clock.advance_to(NOON + timedelta(seconds=until))
        return self.lines()

    def lines(self) -> list[str]:
        drawn = re.split(r"\x1b\[[0-9;]*[AJK]\r?|\x1b\[2K", self.file.getvalue())[-1]
        return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn).split("\n")]


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_an_open_run_is_a_table() -> None:
    with Terminal() as terminal:
        terminal.panel.planned = ("draft", "edit")

        assert [
            f"run {SHORT}  ► running     ────────────  0/2 nodes  10.0 s  1,234 tokens  $0.003340",
            "  node   status               time     tokens         cost  text",
            "  draft  ► running           9.5 s      1,234    $0.003340  Once upon a time",
            "  edit   ○ pending",
        ] == terminal.show(*RUNNING, until=10.05)


@pytest.mark.parametrize(("is_replay", "later"), [(False, "14.5 s"), (True, "2.5 s")])
def test_the_clock_of_a_running_node_is_the_scheduler_or_in_a_replay_the_last_event(
    is_replay: bool, later: str
) -> None:
    with Terminal(is_replay=is_replay) as terminal:
        assert ("2.5 s" if is_replay else "9.5 s") in terminal.show(*RUNNING, until=10.05)[2]
        assert later in terminal.show(until=15.05)[2]


def test_a_waiting_node_shows_its_reason_and_after_a_minute_its_time() -> None:
    with Terminal() as terminal:
        line = terminal.show(waiting(1), until=59.9)[2]
        assert "‖ waiting" in line and line.endswith("  waits for add")
        assert terminal.show(user_ask(2), until=125)[2].endswith(
            f"  for 2 min 05 s: asks: {user_ask(2).user_ask.question}"
        )
        assert "for " not in terminal.show(tool_result(3), user_answer(4), until=200)[2]


def test_without_a_table_a_waiting_node_is_printed_once_a_minute() -> None:
    output, clock = io.BytesIO(), HistoricalScheduler(NOON)
    file = io.TextIOWrapper(output, "utf-8")
    with RunView(None, Console(file=file), clock) as view:
        lines: list[list[str]] = []
        for event, until in [(waiting(1), 59), (None, 61), (None, 125), (tool_result(2), 600)]:
            if event is not None:
                view.update(event)
            clock.advance_to(NOON + timedelta(seconds=until))
            lines.append(output.getvalue().decode().splitlines()[sum(map(len, lines)) :])

    asks, *waits, got = lines
    assert ["draft waits: tool_results"] == asks
    assert [["draft has waited for 1 min 00 s"], ["draft has waited for 2 min 00 s"]] == waits
    assert ["draft got 3"] == got


def test_the_waiting_time_is_reported_when_following_stops_during_a_wait(
    capsys: pytest.CaptureFixture[str],
) -> None:
    panel = Panel(RUN)
    panel.update(waiting(1))
    report([panel], 5.0)
    assert re.search(
        r"stopped following after 5 s, it was waiting for \d+ h \d\d min; ", capsys.readouterr().err
    )


def test_a_table_shows_the_errors_of_nodes_runs_and_connections() -> None:
    error = NodeError(message="the model\nis \x1b[5mdown")
    with Terminal() as terminal:
        again = terminal.show(*RUNNING, NodeStarted(**at(4), node_id="draft"), delta(5, "Again"), until=0.2)
        assert again[2].endswith("  Again"), "a second attempt starts without text"
        lines = terminal.show(
            NodeFailed(**at(6), node_id="draft", error=error),
            RunFailed(**at(7), plan_hash=HASH, error=error),
            until=0.4,
        )
        assert lines[0].startswith(f"run {SHORT}  ✗ failed      ━━━━━━━━━━━━  1/1 nodes  7.0 s")
        assert "  the model is ␛[5mdown" == lines[1]
        assert "✗ failed" in lines[3] and lines[3].endswith("the model is ␛[5mdown")
        terminal.panel.error = RunsError("no more")
        lines = terminal.show(until=0.6)
    assert "✗ lost" in lines[0]
    assert "  no more" in lines


def test_reconnects_are_counted_and_trouble_is_shown_while_it_lasts() -> None:
    fault = Reconnecting(run_id=RUN, attempt=1, delay=2.5, cause=ConnectionError("gone\x1b[2J"))
    with Terminal(140) as terminal:
        for value in (Connected(run_id=RUN, after_seq=0, request_id=None), fault, fault):
            terminal.panel.note(value)
        lines = terminal.show(*RUNNING, until=0.2)
        assert lines[0].endswith("2 reconnects")
        assert "  reconnecting in 2.5 s: gone␛[2J" == lines[1]
        terminal.panel.note(Resumed(run_id=RUN, after_seq=5, request_id=None))
        assert "reconnecting" not in "".join(terminal.show(until=0.4))


def test_warnings_stand_above_the_table() -> None:
    with printed_warnings(), Terminal() as terminal:
        terminal.show(*RUNNING, until=0.2)
        logging.getLogger("rxruns").warning("reconnecting\x1b[2J")
        terminal.show(until=0.4)
        assert "► running" in terminal.lines()[0]
        logging.getLogger("rxruns").warning("again")
        before, _, after = terminal.file.getvalue().rpartition("rxruns: again")
        assert (True, True) == ("► running" in before, "► running" in after)


CLEARED = "\x1b[H\x1b[2J"


def test_the_screen_is_cleared_once_after_a_resize() -> None:
    with Terminal() as terminal:
        terminal.show(*RUNNING, until=0.2)
        assert CLEARED not in terminal.file.getvalue()
        terminal.console.size = ConsoleDimensions(60, 10)
        lines = terminal.show(until=0.35)
        assert 1 == terminal.file.getvalue().count(CLEARED)
        assert [] == [line for line in lines if cell_len(line) > 60]
        terminal.show(until=0.6)
        assert CLEARED not in terminal.file.getvalue()
        terminal.console.size = ConsoleDimensions(1, 1)
        assert [] == [line for line in terminal.show(until=0.8) if cell_len(line) > 1]


def test_the_end_of_a_long_text_is_shown() -> None:
    pieces = [delta(1 + number / 1000, f"word{number} ") for number in range(1, 900)]
    with Terminal() as terminal:
        line = terminal.show(*RUNNING[:2], *pieces, until=0.2)[2]
    assert re.search(r"  …\S* .* word898 word899$", line)
    assert cell_len(line) <= 120


@pytest.mark.parametrize("text", ["流れ" * 200, "e\u0301" * 400, "👩‍💻" * 100, "[bold]" * 90, "\u202e" * 300])
@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(text: str, width: int) -> None:
    node_id = text[:60]
    with Terminal(width) as terminal:
        terminal.panel.planned = (node_id, "edit")
        events = [
            RUNNING[0],
            NodeStarted(**at(0.5), node_id=node_id),
            delta(1, text, node_id),
            call(3, node_id),
        ]
        lines = terminal.show(*events, until=0.2)
    assert [] == [line for line in lines if cell_len(line) > width]
    assert 4 == len(lines)


@given(text=st.text(st.sampled_from("ab 流れé\u0301🙂"), max_size=80), room=st.integers(0, 40))
def test_the_longest_end_that_fits_is_kept_of_a_text_that_is_too_wide(text: str, room: int) -> None:
    end = _end(text, room)
    if cell_len(text) <= room:
        assert text == end
        return
    kept = end.removeprefix("…")
    assert text.endswith(kept)
    assert cell_len(end) <= max(room, 1)
    more = text[-len(kept) - 1 :]
    assert cell_len(f"…{more}") > room or len(more) > room, "one more character would fit"


def test_runs_that_need_few_lines_leave_theirs_to_those_with_many_nodes() -> None:
    with Terminal(height=16) as terminal:
        terminal.show(*RUNNING[:2], until=0.2)
        other = terminal.view.panel(UUID(int=2))
        other.planned = tuple(f"node{number:02d}" for number in range(40))
        lines = terminal.show(until=0.4)
    assert 15 == len(lines), "all but the line of the cursor"
    assert ["draft", "node", "node00"] == [line.split()[0] for line in (lines[2], lines[4], lines[5])]
    assert "  … 31 more: 31 pending" == lines[-1]


def test_a_failed_node_takes_precedence_over_a_header() -> None:
    failed = NodeFailed(**at(4), node_id="edit", error=NodeError(message="no luck"))
    started = [NodeStarted(**at(3.5 + place / 10), node_id=id) for place, id in enumerate(("cut", "edit"))]
    with Terminal(height=4) as terminal:
        lines = terminal.show(*RUNNING, *started, failed, until=0.2)
    assert ["run", "edit", "…"] == [line.split()[0] for line in lines]
    assert lines[-1] == "  … 2 more: 2 running"


def test_a_run_has_no_figures_before_its_first_event_and_a_node_needs_no_start() -> None:
    with Terminal() as terminal:
        assert [f"run {SHORT}  · connecting  ────────────"] == terminal.show(until=0.2)
        terminal.panel.note(Connected(run_id=RUN, after_seq=0, request_id=None))
        assert [f"run {SHORT}  ► running     ────────────  no event yet"] == terminal.show(until=0.4)
    panel = Panel()
    panel.update(delta(7, "late"))
    assert [("draft", "running", "late")] == [(row.node_id, row.status, row.text) for row in panel.rows(NOON)]
    assert (RUN, 7001) == (panel.run_id, panel.last_seq)


def test_the_end_of_each_line_is_left_to_what_is_typed_and_echoed() -> None:
    with Terminal(40) as terminal:
        lines = terminal.show(*RUNNING, delta(4, "word " * 40), until=0.2)
        assert 40 - len("^C") == max(map(cell_len, lines))
    assert 40 == max(map(cell_len, terminal.lines())), "what stays uses all of it"


def test_nodes_that_do_not_fit_are_counted_and_failed_ones_shown() -> None:
    nodes = [f"node{number:02d}" for number in range(40)]
    events: list[RunEvent] = [NodeStarted(**at(1 + n / 100), node_id=id) for n, id in enumerate(nodes)]
    events += [NodeSucceeded(**at(2 + n / 100), node_id=id) for n, id in enumerate(nodes[:30])]
    events.append(NodeFailed(**at(3), node_id="node35", error=NodeError(message="no luck")))
    with Terminal(height=10) as terminal:
        lines = terminal.show(*events, until=0.2)
        assert len(lines) < 10
        assert nodes[30:36] == [line.split()[0] for line in lines[2:-1]]
        assert "  … 34 more: 30 succeeded, 4 running" == lines[-1]
    assert 42 == len(terminal.lines()) - 1, "at the end all of them stay on the screen"


def test_more_runs_than_lines_are_counted_too() -> None:
    with Terminal(height=8) as terminal:
        for number in range(1, 21):
            terminal.view.panel(UUID(int=number))
        lines = terminal.show(*RUNNING, until=0.2)
    assert len(lines) < 8
    assert lines[-1] == "… 15 more: 15 connecting"


def test_a_table_is_redrawn_at_most_ten_times_a_second() -> None:
    redraws = 0
    with Terminal() as terminal:
        flush = terminal.file.flush

        def count() -> None:
            nonlocal redraws
            redraws += 1
            flush()

        terminal.file.flush = count  # type: ignore[method-assign]
        terminal.show(*RUNNING[:2], until=1)
        redraws = 0
        terminal.show(*(delta(1 + number / 1e6, "x") for number in range(5000)), until=2)
        assert redraws <= REDRAWS
        assert redraws > 1
        redraws = 0
        terminal.show(until=12)
        assert redraws <= 10 * REDRAWS


def test_a_run_shorter_than_a_tenth_of_a_second_is_drawn_once() -> None:
    with Terminal() as terminal:
        for event in RUNNING:
            terminal.view.update(event)
        terminal.clock.advance_to(NOON + timedelta(seconds=0.09))
        assert SHORT not in terminal.file.getvalue()
    assert 1 == terminal.file.getvalue().count(f"run {SHORT}")
    assert (0.1, 0.1, 2.0) == (pause(0.0), pause(0.005), pause(0.1)), "a twentieth of a core at most"


def test_a_redraw_that_was_about_to_begin_when_the_view_ended_draws_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late: list[Any] = []
    schedule = HistoricalScheduler.schedule_relative

    def note(self: HistoricalScheduler, due: Any, action: Any, state: Any = None) -> Any:
        late[:] = [action]
        return schedule(self, due, action, state)

    monkeypatch.setattr(HistoricalScheduler, "schedule_relative", note)
    with Terminal() as terminal:
        terminal.show(*RUNNING, until=1)
    terminal.file.close()

    late.pop()(terminal.clock)  # fails if it writes

    assert terminal.file.closed


def test_a_panel_keeps_no_more_text_than_it_shows() -> None:
    panel = Panel()
    panel.update(RUNNING[1])
    tracemalloc.start()
    for number in range(10_000):
        panel.update(delta(1 + number / 1000, "0123456789" * 100))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert KEEP * PIECES == len(panel.text("draft"))
    assert kept < 2 * PIECES * 1000


def test_a_panel_read_while_events_arrive_folds_each_of_them_once() -> None:
    panel = Panel()
    events = [RUNNING[0], *(call(1 + number, f"node {number % 7}") for number in range(5000))]
    reader = threading.Thread(target=lambda: [panel.update(event) for event in events])
    reader.start()
    looks = [panel.state.costs.requests]
    while reader.is_alive():
        looks.append(panel.state.costs.requests)
    reader.join()

    assert 5000 == panel.state.costs.requests == sum(panel.costs(f"node {n}").requests for n in range(7))
    assert sorted(looks) == looks


def test_without_colour_or_a_capable_terminal_lines_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_live(**options: Any) -> bool:
        return RunView(console=Console(file=io.StringIO(), **options)).is_live

    assert is_live(force_terminal=True)
    assert not is_live(force_terminal=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not is_live(force_terminal=True)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not is_live(force_terminal=True)


# ---- a real terminal ----


@contextmanager
def in_terminal(
    service: DevServer, *arguments: object, **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command in a pseudo-terminal of 100 columns and 30 lines; yield it and our end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    environment = os.environ | {
        "TERM": "xterm-256color",
        "MODELRELAY_API_KEY": service.api_key,
        "MODELRELAY_API_BASE_URL": service.url,
    }
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        environment.pop(name, None)
    command = [sys.executable, "-W", "error", "-m", "rxruns", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment | variables,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(descriptor: int, expected: str = "") -> str:
    """Read the output of the terminal, up to `expected` or to its end."""
    output, end = b"", time.monotonic() + HANG
    while not expected or expected not in output.decode("utf-8", "ignore"):
        assert select.select([descriptor], [], [], max(0, end - time.monotonic()))[0], output
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # on Linux: the other end is closed
            break
        if not piece:
            break
        output += piece
    return output.decode("utf-8", "replace")


def test_watch_in_a_terminal_is_a_table_that_follows_its_size_and_outlives_ctrl_c(service: DevServer) -> None:
    script = unfinished(service, run_of(2)[:4])
    with in_terminal(service, "watch", script.run_id) as (process, ours):
        output = read_until(ours, "piece 0 piece 1")
        assert "► running" in output and str(script.run_id) not in output
        for width, height, part in ((150, 30, str(script.run_id)), (20, 3, "► r…")):
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
            assert CLEARED in read_until(ours, part)
        process.send_signal(signal.SIGINT)
        output = read_until(ours)
        assert 130 == process.wait(60)
    assert output.rstrip().endswith("\x1b[?25h"), "the cursor is visible again"
    assert "draft" in output and "Traceback" not in output


def test_planned_nodes_are_known_only_if_the_run_is_read_from_its_start(service: DevServer) -> None:
    run_id = service.add_run(events=run_of(2)).run_id
    planned = []
    with service.client() as client:
        for selection in (Selection(), Selection(nodes=("edit",)), Selection(after=2), Selection(tail=1)):
            panel = Panel(run_id)
            noting(panel, client, selection)(Connected(run_id=run_id, after_seq=0, request_id=None))
            planned.append(panel.planned)
    assert [("draft",), (), (), ()] == planned


def test_with_no_color_a_terminal_gets_plain_lines_and_a_typed_key_is_not_echoed(service: DevServer) -> None:
    run_id = service.add_run(events=run_of(1)).run_id
    with in_terminal(service, "watch", run_id, "--key-file", "-", NO_COLOR="1") as (process, ours):
        output = read_until(ours, "API key: ")
        os.write(ours, f"{service.api_key}\n".encode())
        output += read_until(ours)
        assert 0 == process.wait(60)
    assert "\x1b" not in output
    assert service.api_key not in output
    assert "draft succeeded: piece 0" in output
