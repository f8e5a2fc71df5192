"""`rxruns answer` in a pseudo-terminal, in a pipe and with flags, and the command that `watch` names."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from reactivex.scheduler import HistoricalScheduler
from rich.console import Console

from rxruns import RunsClient, block_on, ops, run_events
from rxruns.cli._asking import LONGEST, ask, listed, outcome, show
from rxruns.cli._view import RunView
from rxruns.devserver import DevServer
from rxruns.events import NodeToolResult, NodeUserAnswer, UserAsk, UserAskOption
from rxruns.models import RunsToolCall
from rxruns.tools import USER_ASK, PendingCall, answer, pending
from tests.acting import waiting_run
from tests.commands import PYTHON, Rxruns, process
from tests.making import CALL_ID, NOON, RUN
from tests.test_cli_view import Terminal, in_terminal, read_until
from tests.waiting import call, tool_result, waiting

HOSTILE = "a\x1b[31mb\u202ec\r\nrxruns: all is well\x07"


@pytest.fixture
def client(service: DevServer) -> Iterator[RunsClient]:
    with service.client() as client:
        yield client


def results(client: RunsClient, run_id: UUID) -> list[str]:
    """The answers and outputs that a run received."""
    events = block_on(run_events(run_id, client=client, wait=False).pipe(ops.to_list()), default=[])
    return [
        event.user_answer.answer if isinstance(event, NodeUserAnswer) else event.tool_result.output
        for event in events
        if isinstance(event, NodeUserAnswer | NodeToolResult)
    ]


def question(*labels: str, allow_freeform: bool) -> PendingCall:
    asks = UserAsk(
        step=0,
        request_id=CALL_ID,
        tool_call=call(),
        question="Go?",
        allow_freeform=allow_freeform,
        options=tuple(map(UserAskOption, labels)),
    )
    tool_call = RunsToolCall("call_1", "user_ask")
    return PendingCall(
        run_id=RUN, node_id="ask", step=0, request_id=CALL_ID, tool_call=tool_call, question=asks
    )


@pytest.mark.parametrize(
    ("pending_call", "typed", "reply"),
    [
        (question("yes", "no", allow_freeform=False), ["maybe", " ", "3", "0", "2"], {"option": "no"}),
        (question("yes", allow_freeform=False), ["yes "], {"option": "yes"}),
        (question("yes", allow_freeform=True), ["7", "maybe"], {"text": "maybe"}),
        (question("3", "4", "5", allow_freeform=True), ["3"], {"option": "3"}),
        (question(allow_freeform=True), ["", "7"], {"text": "7"}),
        (question(allow_freeform=False), ["", "odd"], {"deny": "odd"}),
    ],
)
def test_the_dialog_asks_until_the_answer_fits(
    pending_call: PendingCall, typed: list[str], reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter(typed)
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert reply == ask(pending_call)
    assert [] == list(lines)


def interrupt(running: subprocess.Popen[bytes]) -> None:
    """Send SIGINT until the process ends: Python misses one between the prompt and the wait for input."""
    while running.poll() is None:
        running.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            running.wait(5)


class TestTerminal:
    def test_a_question_is_shown_and_a_number_selects_an_option(
        self, service: DevServer, client: RunsClient
    ) -> None:
        run_id = waiting_run(client, USER_ASK)
        with in_terminal(service, "answer", run_id) as (running, ours):
            printed_first = read_until(ours, "number or text: ")
            os.write(ours, b"\n")
            read_until(ours, "number or text: ")
            os.write(ours, b"3\n")
            assert "enter a number from 1 to 2, or another text" in read_until(ours, "number or text: ")
            os.write(ours, b"2\n")
            printed = read_until(ours)
            assert 0 == running.wait(60)
        for part in ("node ask asks, waiting for ", "Go?", "1  \x1b[0myes", "2  \x1b[0mno"):
            assert part in printed_first
        assert "node ask was answered: no" in printed
        assert ["no"] == results(client, run_id)

    def test_several_calls_are_answered_in_turn(self, service: DevServer, client: RunsClient) -> None:
        run_id = waiting_run(client, USER_ASK, "look", "pay")
        with in_terminal(service, "answer", run_id) as (running, ours):
            for part, prompt, typed in [
                ("node ask asks", "number or text: ", "tomorrow ☀"),
                ("node ask calls look", "number: ", "3"),
                ("enter 1 or 2", "number: ", "1"),
                ("", "output (JSON): ", "{a}"),
                ("not valid JSON: column 2: ", "output (JSON): ", '{"seen": 1}'),
                ("node ask calls pay", "number: ", "2"),
                ("", "reason: ", "no budget"),
            ]:
                assert part in read_until(ours, prompt)
                os.write(ours, f"{typed}\n".encode())
            read_until(ours)
            assert 0 == running.wait(60)
        denied = "Error: the call was denied: no budget"
        assert ["tomorrow ☀", '{"seen":1}', denied] == results(client, run_id)

    @pytest.mark.parametrize("typed", [b"", b"\x04"], ids=["Ctrl-C", "Ctrl-D"])
    def test_it_stops_without_an_answer(self, typed: bytes, service: DevServer, client: RunsClient) -> None:
        run_id = waiting_run(client, USER_ASK)
        with in_terminal(service, "answer", run_id) as (running, ours):
            read_until(ours, "number or text: ")
            if typed:
                os.write(ours, typed)
            else:
                interrupt(running)
            assert "Traceback" not in read_until(ours)
            assert 130 == running.wait(60)
        assert 1 == len(pending(run_id, client=client))

    def test_a_question_that_was_answered_meanwhile_is_refused_and_the_next_is_asked(
        self, service: DevServer, client: RunsClient
    ) -> None:
        run_id = waiting_run(client, USER_ASK, nodes=("one", "two"))
        with in_terminal(service, "answer", run_id) as (running, ours):
            read_until(ours, "number or text: ")
            answer(run_id, "no", node_id="one", client=client)
            os.write(ours, b"1\n")
            printed = read_until(ours, "number or text: ")
            os.write(ours, b"1\n")
            read_until(ours)
            assert 4 == running.wait(60)
        assert "of node 'one' isn't pending any more: no tool calls are pending at node one" in printed
        assert ["no", "yes"] == results(client, run_id)


class TestPipe:
    def answer(self, run_id: UUID, *flags: str, text: bytes | None = None) -> tuple[int, str, str]:
        with process(
            "answer", run_id, *flags, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False
        ) as one:
            out, err = one.communicate(text)
        return one.returncode, out.decode(), err.decode()

    def test_its_text_answers_the_only_question(self, service: DevServer, client: RunsClient) -> None:
        run_id = waiting_run(client, USER_ASK)
        assert (0, "node ask was answered: twice a day\n", "") == self.answer(run_id, text=b" twice a day\n")
        assert ["twice a day"] == results(client, run_id)

    def test_several_questions_are_listed_until_one_is_selected(
        self, service: DevServer, client: RunsClient
    ) -> None:
        run_id = waiting_run(client, USER_ASK, nodes=("one", "two"))
        calls = pending(run_id, client=client)
        code, out, err = self.answer(run_id, text=b"yes")
        assert (2, "") == (code, out)
        assert "2 calls wait; select one:" in err
        for one in calls:
            assert f"\n  --node {one.node_id} --call {one.tool_call.id}: Go?\n" in err
        assert calls == pending(run_id, client=client)
        assert 0 == self.answer(run_id, "--node", "two", text=b"yes")[0]
        assert 0 == self.answer(run_id, "--call", calls[0].tool_call.id, text=b"no")[0]
        assert ["yes", "no"] == results(client, run_id)

    @pytest.mark.parametrize(("text", "problem"), [(b" \n", "no answer: pass --text, "), (b"\xff", "UTF-8")])
    def test_input_without_an_answer_is_a_usage_error(
        self, text: bytes, problem: str, service: DevServer, client: RunsClient
    ) -> None:
        run_id = waiting_run(client, USER_ASK)
        code, _, err = self.answer(run_id, text=text)
        assert 2 == code
        assert problem in err
        assert 1 == len(pending(run_id, client=client))

    def test_a_closed_input_is_one_too(self, service: DevServer, client: RunsClient) -> None:
        run_id = waiting_run(client, USER_ASK)
        command = ["bash", "-c", '"$0" "$@" <&-', *PYTHON, "answer", str(run_id)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (2, "") == (done.returncode, done.stdout)
        assert "no answer: pass --text, " in done.stderr

    def test_a_tool_call_needs_a_flag_and_no_input_is_read(
        self, service: DevServer, client: RunsClient
    ) -> None:
        run_id = waiting_run(client, "look")
        with process("answer", run_id, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waits:
            assert 2 == waits.wait(60)  # its input is still open
            assert waits.stderr and "node ask calls look: answer with --json or --deny" in waits.stderr.read()

    def test_a_question_that_was_answered_meanwhile_is_refused(
        self, service: DevServer, client: RunsClient
    ) -> None:
        run_id = waiting_run(client, USER_ASK)
        with process("answer", run_id, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waits:
            assert waits.stdin
            waits.stdin.write(" " * 2**20)  # more than a pipe holds: it has listed the question, and reads
            waits.stdin.flush()
            answer(run_id, "no", client=client)
            out, err = waits.communicate("yes\n", timeout=60)
        assert (4, "") == (waits.returncode, out)
        assert 1 == len(err.splitlines())
        assert err.startswith("rxruns: ") and "of node 'ask' isn't pending any more: " in err
        assert ["no"] == results(client, run_id)


class TestFlags:
    @pytest.mark.parametrize(
        ("flags", "line", "result"),
        [
            (["--option", "2"], "node ask was answered: no", "no"),
            (["--option", "yes"], "node ask was answered: yes", "yes"),
            (["--text", "2"], "node ask was answered: 2", "2"),
            (
                ["--deny", "ask later"],
                "node ask: its question was denied: ask later",
                "Error: the call was denied",
            ),
        ],
    )
    def test_a_question_is_answered(
        self, flags: list[str], line: str, result: str, rxruns: Rxruns, client: RunsClient
    ) -> None:
        run_id = waiting_run(client, USER_ASK)
        assert (0, f"{line}\n", "") == rxruns("answer", run_id, *flags)
        assert results(client, run_id)[0].startswith(result)

    @pytest.mark.parametrize(
        ("flags", "line", "result"),
        [
            (["--json", '{"a": [1, null]}'], 'returned {"a":[1,null]}', '{"a":[1,null]}'),
            (["--json", '"sunny"'], "returned sunny", "sunny"),
            (["--json", "null"], "returned null", "null"),
        ],
    )
    def test_a_tool_call_gets_its_output(
        self, flags: list[str], line: str, result: str, rxruns: Rxruns, client: RunsClient
    ) -> None:
        run_id = waiting_run(client, "look")
        assert (0, f"node ask: look {line}\n", "") == rxruns("answer", run_id, "--node", "ask", *flags)
        assert [result] == results(client, run_id)

    @pytest.mark.parametrize(
        ("tool", "flags", "problem"),
        [
            (USER_ASK, ["--text", "a", "--deny", "b"], "--text and --deny can't be combined"),
            (USER_ASK, ["--json", "{}"], "node ask asks: answer with --text, --option or --deny"),
            (USER_ASK, ["--option", "3"], "option must be one of the options 'yes', 'no', got '3'"),
            (USER_ASK, ["--text", ""], "text must be text that isn't blank, got ''"),
            (USER_ASK, ["--text", "a\udce9"], "text can't be sent: the output can't be sent as UTF-8"),
            (USER_ASK, ["--deny", " "], "reason must be text that isn't blank, got ' '"),
            ("look", ["--text", "a"], "node ask calls look: answer with --json or --deny"),
            ("look", ["--option", "1"], "node ask calls look: answer with --json or --deny"),
            ("look", ["--json", "{"], "--json must be valid JSON: column 2: Expecting property name"),
            ("look", ["--json", "[1e400]"], "--json must be valid JSON: column 2: a number must be finite"),
            ("look", ["--json", "[" * 5000], "--json must be valid JSON: column "),
        ],
        ids=lambda value: None if isinstance(value, dict) else str(value)[:30],
    )
    def test_an_answer_that_does_not_fit_is_a_usage_error(
        self, tool: Any, flags: list[str], problem: str, rxruns: Rxruns, client: RunsClient
    ) -> None:
        run_id = waiting_run(client, tool)
        code, out, err = rxruns("answer", run_id, *flags)
        assert (2, "") == (code, out)
        assert problem in err
        assert 1 == len(pending(run_id, client=client))

    def test_a_run_that_waits_for_nothing_is_reported(self, rxruns: Rxruns, client: RunsClient) -> None:
        run_id = waiting_run(client, USER_ASK)
        code, out, err = rxruns("answer", run_id, "--node", "other", "--text", "yes")
        assert (4, "") == (code, out)
        assert (
            f"rxruns: run {run_id} doesn't wait for this node or call; select another:\n  --node ask" in err
        )

        answer(run_id, "yes", client=client)
        block_on(run_events(run_id, client=client))
        message = f"rxruns: run {run_id} waits for no answer: its status is succeeded\n"
        assert (4, "", message) == rxruns("answer", run_id, "--text", "yes")

    @pytest.mark.parametrize(
        ("arguments", "code", "problem"),
        [
            ([UUID(int=7), "--text", "a"], 3, "rxruns: 404 NOT_FOUND: "),
            (["run 7"], 2, "'run 7' is not a valid UUID"),
            ([UUID(int=7), "--base-url", "http://127.0.0.1:9/api/v1"], 3, "rxruns: "),
            ([UUID(int=7), "--key-file", "/nowhere"], 2, "/nowhere"),
        ],
    )
    def test_errors_have_the_codes_of_every_command(
        self, arguments: list[Any], code: int, problem: str, rxruns: Rxruns, service: DevServer
    ) -> None:
        found = rxruns("answer", *arguments)
        assert (code, "") == (found.code, found.out)
        assert problem in found.err


class TestUntrustedText:
    def call(self, size: int = 1, options: int = 2, name: str = "user_ask") -> PendingCall:
        text = HOSTILE * size
        labels = tuple(UserAskOption(f"{number}{text}", text) for number in range(options))
        question = UserAsk(
            step=0,
            request_id=CALL_ID,
            tool_call=call(),
            question=text,
            allow_freeform=True,
            options=labels,
        )
        return PendingCall(
            run_id=RUN,
            node_id=text,
            step=0,
            request_id=CALL_ID,
            tool_call=RunsToolCall(text, name if name == "user_ask" else text, text),
            question=question if name == "user_ask" else None,
        )

    def drawn(self, call: PendingCall) -> str:
        file = io.StringIO()
        show(Console(file=file, width=100), call, 3.0)
        return file.getvalue()

    @pytest.mark.parametrize("name", ["user_ask", "tool"])
    def test_no_line_of_it_controls_the_terminal_or_looks_like_one_of_ours(self, name: str) -> None:
        one = self.call(name=name)
        printed = [self.drawn(one), listed([one, one]), outcome(one, {"text": HOSTILE})]
        printed += [outcome(one, {"deny": HOSTILE}), outcome(one, {"output": {"a": HOSTILE}})]
        lines = [line for text in printed for line in text.splitlines()]
        assert [] == [line for line in lines if not line.isprintable() or line.startswith("rxruns")]

    def test_its_length_is_bounded(self) -> None:
        for name in ("user_ask", "tool"):
            one = self.call(10_000, options=1_000, name=name)
            assert len(self.drawn(one)) < 50_000
            assert len(listed([one] * 1_000)) < 20_000
        assert "… 950 more options" not in self.drawn(self.call(options=50))
        assert "… 950 more options" in self.drawn(self.call(options=1_000))

    def test_a_question_in_many_lines_is_shown_up_to_a_limit(self) -> None:
        one = self.call()
        assert one.question
        long = "\n".join(map(str, range(LONGEST // 4)))
        lines = self.drawn(
            PendingCall(
                run_id=RUN, node_id="a", step=0, request_id=CALL_ID, tool_call=RunsToolCall("1", "x", long)
            )
        ).splitlines()
        assert "  39" in lines and "  40" not in lines
        assert lines[-1].endswith(" more lines")


class TestWatch:
    def test_a_live_run_shows_the_command_that_answers_it(
        self, service: DevServer, client: RunsClient
    ) -> None:
        run_id = waiting_run(client, USER_ASK)
        with in_terminal(service, "watch", run_id) as (_, ours):
            read_until(ours, f"  rxruns answer {run_id} --node ask")

    def test_a_recorded_log_does_not(self, service: DevServer, client: RunsClient, tmp_path: Path) -> None:
        run_id = waiting_run(client, USER_ASK)
        log = tmp_path / "run.ndjson"
        block_on(run_events(run_id, client=client, wait=False, record=log))
        with in_terminal(service, "watch", log) as (running, ours):
            assert "rxruns answer" not in read_until(ours)
            assert 3 == running.wait(60)

    def commands(self, *nodes: str, until: float = 2.1, **size: int) -> list[str]:
        with Terminal(**size) as terminal:
            terminal.panel.can_be_answered = True
            events = [waiting(seq, node_id=node) for seq, node in enumerate(nodes, 1)]
            return [line for line in terminal.show(*events, until=until) if "rxruns" in line]

    def test_the_command_is_shown_after_two_seconds_until_the_node_resumes(self) -> None:
        assert [] == self.commands("draft", until=1.9)
        assert [] == self.commands(until=1.9, height=3)
        assert [f"  rxruns answer {RUN} --node draft"] == self.commands("draft")
        with Terminal() as terminal:
            terminal.panel.can_be_answered = True
            assert "rxruns" in "".join(terminal.show(waiting(1), until=3))
            assert "rxruns" not in "".join(terminal.show(tool_result(2), until=6))

    @pytest.mark.parametrize(
        ("node", "flag"),
        [
            ("it's", """ --node 'it'"'"'s'"""),
            ("$(reboot); `id`", " --node '$(reboot); `id`'"),
            ("a\nb", ""),
            ("a\x1b[31m", ""),
            ("x" * 65, ""),
        ],
    )
    def test_the_id_is_quoted_for_the_shell_or_left_out(self, node: str, flag: str) -> None:
        assert [f"  rxruns answer {RUN}{flag}"] == self.commands(node, width=150)

    @pytest.mark.parametrize(
        ("nodes", "size", "count"),
        [(3, {}, 3), (4, {}, 1), (2, {"height": 7}, 2), (2, {"height": 6}, 1), (2, {"height": 5}, 0)],
    )
    def test_it_is_one_for_all_nodes_if_there_are_many_or_little_space(
        self, nodes: int, size: dict[str, int], count: int
    ) -> None:
        commands = self.commands(*(f"n{number}" for number in range(nodes)), **size)
        assert count == len(commands)
        assert ("--node" in "".join(commands)) == (count == nodes)

    def test_without_a_table_it_is_printed_with_the_waiting_time(self) -> None:
        output, clock = io.BytesIO(), HistoricalScheduler(NOON)
        with RunView(None, Console(file=io.TextIOWrapper(output, "utf-8")), clock) as view:
            view.panel(RUN).can_be_answered = True
            view.update(waiting(1))
            clock.advance_to(NOON + timedelta(seconds=61))
            lines = output.getvalue().decode().splitlines()
        assert f"draft has waited for 1 min 00 s: rxruns answer {RUN} --node draft" == lines[-1]
