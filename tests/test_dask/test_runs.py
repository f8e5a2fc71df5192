"""Runs on a cluster come to what they come to here, whoever dies, and no secret travels with a task."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from distributed.diagnostics.plugin import SchedulerPlugin

from rxruns import CostTotals, Price, RetryPolicy, RunsClient, block_on, merge_runs, ops
from rxruns.dask import FoldedRuns, fold_runs, share_credentials
from rxruns.dask._runs import read_runs
from rxruns.devserver import DevServer, Faults
from rxruns.devserver.faults import Delay
from rxruns.errors import APIError, InvalidArgumentError, StreamInterruptedError, StreamProtocolError
from rxruns.folds import NodeSpans, RunStates
from rxruns.state import RunState
from tests.conftest import ROOT
from tests.folding import Deadly, Refusing, Seen
from tests.observing import run_of
from tests.soak import both_sizes

PRICES = {("openai", "gpt-5"): Price("1.25", 10)}
MISSING = UUID("3f0e9a52-6d0b-4b8e-9c55-8d6a0f9f3a11")
CALL: dict[str, Any] = {
    "type": "node_llm_call",
    "node_id": "draft",
    "llm_call": {
        "step": 0,
        "request_id": str(MISSING),
        "provider": "openai",
        "model": "gpt-5",
        "usage": {"input_tokens": 3, "output_tokens": 5},
    },
}


@pytest.fixture
def server(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[DevServer]:
    """A service that the environment names, here and on each worker, also on those that follow."""
    monkeypatch.delenv("MODELRELAY_ACCESS_TOKEN", raising=False)
    with DevServer() as server:
        monkeypatch.setenv("MODELRELAY_API_BASE_URL", server.url)
        monkeypatch.setenv("MODELRELAY_API_KEY", server.api_key)
        share_credentials(cluster)
        yield server


def add_runs(server: DevServer, count: int) -> list[UUID]:
    return [server.add_run(events=with_call(number)).run_id for number in range(count)]


def with_call(deltas: int) -> list[dict[str, Any]]:
    """A run with `deltas` modulo 7 deltas, and a model call."""
    *events, succeeded, completed = run_of(deltas % 7)
    return [*events, CALL, succeeded, completed]


def folded_here(server: DevServer, runs: list[UUID], fold: Any) -> Any:
    """Fold the runs in one process."""
    with server.client() as client:
        events = merge_runs(runs, client=client, max_concurrent=4)
        return block_on(events.pipe(ops.reduce(lambda value, event: value.step(event), fold)))


@both_sizes
@pytest.mark.parametrize(
    "fold",
    [CostTotals(PRICES), RunStates(RunState(costs=CostTotals(PRICES))), NodeSpans()],
    ids=lambda fold: type(fold).__name__,
)
def test_runs_on_a_cluster_have_the_same_result_as_here(
    cluster: Any, server: DevServer, fold: Any, soaking: bool
) -> None:
    runs = add_runs(server, 2_000 if soaking else 60)
    here = folded_here(server, runs, fold)
    folded = fold_runs(runs, fold)

    assert {} == folded.errors
    if isinstance(fold, NodeSpans):
        assert set(here.spans) == set(folded.value.spans)
    else:
        assert here == folded.value


@both_sizes
def test_a_worker_that_is_killed_changes_nothing(
    cluster: Any, server: DevServer, tmp_path: Path, soaking: bool
) -> None:
    runs = add_runs(server, 2_000 if soaking else 40)
    marker = tmp_path / "killed"
    folded = fold_runs(runs, Deadly(marker=str(marker), seq=9), partition_size=len(runs) // 8)

    assert marker.exists()
    assert {} == folded.errors
    with server.client() as client:
        expected = [
            (run_id, event.seq, event.type) for run_id in runs for event in client.list_events(run_id)
        ]
    assert expected == list(folded.value.events)


def test_the_error_of_a_run_is_returned_beside_the_others(
    cluster: Any, server: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    broken = server.script()
    for event in run_of(3)[:4]:
        broken.append(event)
    broken.append_line(b'{"type":"node_started"}', seq=5)
    runs = add_runs(server, 3)
    with caplog.at_level(logging.WARNING, "rxruns"):
        folded = fold_runs([runs[0], broken.run_id, *runs[1:], MISSING], Seen(), partition_size=2)

    assert {broken.run_id: StreamProtocolError, MISSING: APIError} == {
        run_id: type(error) for run_id, error in folded.errors.items()
    }
    assert 404 == folded.errors[MISSING].status  # type: ignore[attr-defined]
    assert runs == list(dict.fromkeys(run_id for run_id, _, _ in folded.value.events))
    assert 1 == len(caplog.messages)
    assert f"2 of 5 runs could not be read; {broken.run_id}: " in caplog.text


def test_a_running_run_is_read_as_it_is_with_wait_false(cluster: Any, server: DevServer) -> None:
    open_run = server.script()
    for event in run_of(3)[:4]:
        open_run.append(event)

    assert 4 == len(fold_runs([open_run.run_id], Seen(), wait=False).value.events)


def test_a_run_is_read_once_however_often_and_in_whatever_form_it_is_named(
    cluster: Any, server: DevServer
) -> None:
    (run_id,) = add_runs(server, 1)
    assert 1 == fold_runs([run_id, str(run_id), run_id.hex], CostTotals(PRICES)).value.requests


def test_no_runs_leave_the_fold_empty(cluster: Any) -> None:
    assert FoldedRuns(CostTotals(), {}) == fold_runs([], CostTotals())


def test_an_exception_of_a_fold_is_raised_here_and_is_not_an_error_of_the_run(
    cluster: Any, server: DevServer
) -> None:
    with pytest.raises(ArithmeticError, match="no use for"):
        fold_runs(add_runs(server, 2), Refusing())


def test_runs_of_a_partition_are_read_at_once_and_combined_in_order() -> None:
    with DevServer(faults=Faults(otherwise=[Delay(per_event=0.002)])) as server:
        runs = add_runs(server, 12)
        folded = read_runs(runs, Seen(), server.client, wait=True, resume=None)

        assert runs == list(dict.fromkeys(run_id for run_id, _, _ in folded.value.events))


def test_the_resume_policy_is_used() -> None:
    with DevServer() as server:
        run = server.add_run(events=run_of(2)[:3])
        folded = read_runs([run.run_id], Seen(), server.client, wait=True, resume=None)

    assert StreamInterruptedError is type(folded.errors[run.run_id])
    assert Seen() == folded.value


# ---- secrets ----


class _Sent(SchedulerPlugin):
    """Keeps what the scheduler is sent as tasks."""

    name = "sent"

    def __init__(self) -> None:
        self.tasks: list[bytes] = []

    def update_graph(self, scheduler: Any, *, tasks: list[Any], **rest: Any) -> None:
        self.tasks += [pickle.dumps(scheduler.tasks[key].run_spec) for key in tasks]


def sent(dask_scheduler: Any) -> list[bytes]:
    return list(dask_scheduler.plugins["sent"].tasks)


def test_no_key_is_in_what_the_scheduler_keeps(cluster: Any, server: DevServer) -> None:
    cluster.register_plugin(_Sent())
    try:
        fold_runs(add_runs(server, 4), CostTotals(PRICES), partition_size=1)
        tasks = cluster.run_on_scheduler(sent)
    finally:
        cluster.unregister_scheduler_plugin("sent")

    assert len(tasks) >= 5
    assert any(b"read_runs" in task for task in tasks)
    assert [] == [task for task in tasks if server.api_key.encode() in task or b"mr_sk_" in task]


def test_what_would_send_a_key_is_refused_and_not_shown(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "mr_sk_" + "x7" * 8
    monkeypatch.setenv("MODELRELAY_ACCESS_TOKEN", "a-token-of-mine")
    token = "a-token-of-mine"
    for connect in (lambda: RunsClient(api_key=key), lambda: RunsClient(access_token=token)):
        with pytest.raises(
            InvalidArgumentError, match="connect must not hold an API key or a token"
        ) as caught:
            fold_runs([MISSING], CostTotals(), connect=connect)
        assert key not in str(caught.value) and token not in str(caught.value)
        assert "connect" == caught.value.field


def test_a_client_of_this_process_is_refused(cluster: Any, server: DevServer) -> None:
    lock = threading.Lock()
    with server.client() as client:
        for connect, message in (
            (lambda: client, "connect can't be sent to the workers: a RunsClient can't be pickled"),
            (lambda: lock, "connect can't be sent to the workers"),
            (client, "connect must be a function that makes a RunsClient on the worker, got RunsClient"),
        ):
            with pytest.raises(InvalidArgumentError, match=message):
                fold_runs([MISSING], CostTotals(), connect=connect)  # type: ignore[arg-type]


def patient() -> RunsClient:
    """A client with options of its own, which each worker makes."""
    return RunsClient(
        api_key=os.environ["MODELRELAY_API_KEY"],
        base_url=os.environ["MODELRELAY_API_BASE_URL"],
        retry=RetryPolicy(max_attempts=1),
    )


def test_a_client_is_made_where_it_is_used(cluster: Any, server: DevServer) -> None:
    runs = add_runs(server, 2)
    assert 2 == fold_runs(runs, CostTotals(), connect=patient).value.requests


def forget(name: str) -> None:
    """On a worker: it has no such variable."""
    os.environ.pop(name, None)


def test_the_error_of_a_worker_without_credentials_names_them(cluster: Any, server: DevServer) -> None:
    cluster.run(forget, "MODELRELAY_API_KEY")
    with pytest.raises(InvalidArgumentError) as caught:
        fold_runs([MISSING], CostTotals())

    assert "MODELRELAY_API_KEY" in str(caught.value)
    assert ["This was raised on a worker: its environment needs the credentials, or `connect`."] == (
        caught.value.__notes__
    )


def test_credentials_are_shared_with_workers_and_shown_nowhere(cluster: Any, server: DevServer) -> None:
    assert {server.api_key} == set(cluster.run(os.getenv, "MODELRELAY_API_KEY").values())
    shared = cluster.run(lambda dask_worker: repr(dask_worker.plugins))
    shared |= {"workers": cluster.get_worker_logs(), "scheduler": cluster.get_scheduler_logs()}
    assert "rxruns-credentials" in str(shared)
    assert server.api_key not in str(shared)


def test_missing_credentials_are_refused(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELRELAY_API_KEY", "MODELRELAY_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidArgumentError, match="nothing to share"):
        share_credentials()


def test_credentials_are_not_sent_where_others_can_read_them(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRELAY_API_KEY", "mr_sk_" + "x7" * 8)
    monkeypatch.setattr(cluster.scheduler, "addr", "tcp://10.0.0.7:8786")
    with pytest.raises(InvalidArgumentError, match="not encrypted"):
        share_credentials(cluster)


# ---- arguments, and the extra ----


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"run_ids": ["five"]}, "run_ids[0]"),
        ({"run_ids": str(MISSING)}, "run_ids"),
        ({"run_ids": MISSING}, "run_ids"),
        ({"run_ids": None}, "run_ids"),
        ({"fold": CostTotals}, "fold"),
        ({"partition_size": 0}, "partition_size"),
        ({"dask_client": 5}, "dask_client"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_bad_argument_is_refused_by_name(cluster: Any, options: dict[str, Any], field: str) -> None:
    arguments: dict[str, Any] = {"run_ids": [uuid4()], "fold": CostTotals()} | options
    with pytest.raises(InvalidArgumentError) as caught:
        fold_runs(arguments.pop("run_ids"), arguments.pop("fold"), **arguments)
    assert field == caught.value.field


def alone(code: str) -> str:
    """Return the output of an interpreter of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_the_error_without_a_dask_client_explains_how_to_make_one() -> None:
    printed = alone(
        "from rxruns import CostTotals; from rxruns.dask import fold_runs; fold_runs([], CostTotals())"
    )
    assert "InvalidArgumentError: no Dask client is active: make one first" in printed


@pytest.mark.parametrize("missing", ["dask", "distributed"])
def test_the_error_without_the_extra_names_the_package(missing: str) -> None:
    printed = alone(f"import sys; sys.modules[{missing!r}] = None; import rxruns.dask")
    assert "ImportError: rxruns.dask needs Dask: pip install 'rxruns[dask]'" in printed
