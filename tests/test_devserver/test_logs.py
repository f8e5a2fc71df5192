from __future__ import annotations

import json
import stat
from uuid import UUID, uuid4

import pytest

from rxruns.devserver._recorded import record_from_log
from rxruns.errors import InvalidArgumentError
from tests.test_devserver.conftest import ENDED, llm, workflow

ONE, TWO = (UUID(int=n, version=4) for n in (1, 2))
ALL = {"include": "steps,tool_calls"}


def line(run_id, seq, type_="node_started", **fields):
    event = {"envelope_version": "v2", "run_id": str(run_id), "seq": seq, "ts": "2025-01-01T00:00:00Z"}
    return json.dumps(event | {"type": type_, "node_id": "a"} | fields).encode() + b"\n"


@pytest.fixture
def spec():
    fanout = {"id": "e", "type": "map.fanout", "items_from_input": "i", "subnode": llm("s", "{{item}}")}
    return workflow(llm("a", "x", tools=["clock"]), fanout, llm("b", "{{a}} {{e}}"))


def finished(api, spec, **options):
    run_id = api.start(spec, input={"i": [1, 2]}, **options)
    assert "run_completed" == api.events(run_id)[-1]["type"]
    return run_id


def test_a_service_started_again_serves_the_same_runs(serve, spec, tmp_path):
    def served(api):
        return (
            api.events(run_id),
            api.events(run_id, include_output=1),
            api.state(run_id),
            api.state(run_id, **ALL),
        )

    api = serve(directory=tmp_path / "runs")
    run_id = finished(api, spec, options={"idempotency_key": "k"})
    before = served(api)
    api.server.close()
    again = serve(directory=str(tmp_path / "runs"))
    assert before == served(again)
    assert run_id == again.start(spec, input={"i": []}, options={"idempotency_key": "k"})
    plan = before[2]["plan_hash"]
    assert 200 == again.post("/runs", {"plan_hash": plan, "input": {"i": []}}).status
    assert [] == again.get(f"/runs/{run_id}/pending-tools").body["pending"]


@pytest.mark.parametrize("user", ["done", "[[fail: x]]", "[[ask: Tea?]]"])
def test_a_run_reads_the_same_from_its_log(api, user):
    fanout = {"id": "e", "type": "map.fanout", "items_from_input": "i", "subnode": llm("s", "{{item}}")}
    tools = ["user_ask"] if "ask" in user else ["clock"]
    run_id = api.start(
        workflow(llm("a", user, tools=tools), fanout, llm("b", "{{a}} {{e}}"), max_parallelism=1),
        input={"i": [1, 2]},
    )
    api.until(
        run_id, "node_waiting" if "ask" in user else "run_failed" if "fail" in user else "run_completed"
    )
    types = {"a": "llm.responses", "e": "map.fanout", "b": "llm.responses"}
    record = record_from_log(UUID(run_id), api.events(run_id, include_output=1, wait=0), types)
    assert api.state(run_id, **ALL) == record.response(frozenset({"steps", "tool_calls"}))
    assert api.get(f"/runs/{run_id}/pending-tools").body == record.pending_tools()


def test_only_their_owner_reads_the_files_of_a_service(serve, spec, tmp_path):
    api = serve(directory=tmp_path / "runs")
    run_id = finished(api, spec)
    api.server.close()
    modes = {path.suffixes[-1]: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "runs").iterdir()}
    assert {".ndjson": 0o600, ".json": 0o600} == modes
    (tmp_path / "runs" / f"{run_id}.run.json").write_text(json.dumps({"spec": spec, "idempotency_key": "k"}))
    log = tmp_path / "runs" / f"{run_id}.ndjson"
    log.unlink()
    serve(directory=tmp_path / "runs").events(run_id)  # which writes that the run was interrupted
    assert 0o600 == stat.S_IMODE(log.stat().st_mode)


def test_a_run_that_the_service_left_open_has_failed_when_it_starts_again(serve, tmp_path, check_event):
    api = serve(directory=tmp_path)
    run_id = api.start(workflow(llm("a", "x", tools=["user_ask"])))
    api.until(run_id, "node_waiting")
    api.server.close()
    log = tmp_path / f"{run_id}.ndjson"
    log.write_bytes(log.read_bytes() + b'{"torn": ')
    for _ in range(2):
        again = serve(directory=tmp_path)
        events = again.events(run_id)
        check_event(events[-1])
        assert ("run_failed", "INTERRUPTED") == (events[-1]["type"], events[-1]["error"]["code"])
        assert "failed" == again.state(run_id)["status"]
        assert len(events) == events[-1]["seq"] == log.read_bytes().count(b"\n")
        again.server.close()


def test_a_stop_before_the_first_event_leaves_a_failed_run(serve, tmp_path):
    api = serve(directory=tmp_path)
    run_id = api.start(workflow(llm("a", "x")))
    api.events(run_id)
    api.server.close()
    kept = tmp_path / f"{run_id}.run.json"
    content = json.loads(kept.read_bytes())
    del content["answer"]
    kept.write_text(json.dumps(content))
    (tmp_path / f"{run_id}.ndjson").unlink()
    again = serve(directory=tmp_path)
    assert ["run_failed"] == [event["type"] for event in again.events(run_id)]


def test_a_recorded_log_in_the_directory_is_served(serve, tmp_path):
    content = line(ONE, 1) + b"\n" + b'{"type": "keepalive"}\n' + line(ONE, 3) + line(ONE, 3) + line(TWO, 4)
    (tmp_path / f"{ONE}.ndjson").write_bytes(content + line(ONE, 5, "node_succeeded").rstrip())
    api = serve(directory=tmp_path)
    assert [1, 3, 5] == [event["seq"] for event in api.events(ONE)]
    state = api.state(ONE)
    assert ("canceled", "succeeded") == (state["status"], state["nodes"][0]["status"])
    assert content.startswith((tmp_path / f"{ONE}.ndjson").read_bytes()[:10])
    assert 404 == api.get(f"/runs/{TWO}").status


def test_a_damaged_log_is_an_error(serve, tmp_path):
    (tmp_path / f"{ONE}.ndjson").write_bytes(line(ONE, 1) + b"{\n")
    api = serve(directory=tmp_path)
    answer = api.get(f"/runs/{ONE}")
    assert 500 == answer.status and "line 2" in answer.body["message"]


def test_nothing_outside_the_directory_is_served(serve, tmp_path):
    (tmp_path / "secret.ndjson").write_bytes(line(ONE, 1))
    (tmp_path / "runs").mkdir()
    api = serve(directory=tmp_path / "runs")
    statuses = {
        api.get(f"/runs/{name}/events", wait=0).status
        for name in ("..%2fsecret", "../secret", "%2e%2e/secret", "secret", f"{ONE}%2f..%2f..%2fsecret", ONE)
    }
    assert statuses <= {400, 404}


def test_a_recorded_log_of_several_runs_is_served_by_run(api):
    first = [line(ONE, 1), line(TWO, 1), b" \n", b'{"type": "keepalive"}', line(ONE, 1), line(ONE, 4)]
    assert api.server.serve_log([*first, line(TWO, 2, **ENDED), line(TWO, 3)]) == [ONE, TWO]
    assert [1, 4] == [event["seq"] for event in api.events(ONE)]
    assert [1, 2] == [event["seq"] for event in api.events(TWO)]
    assert ("canceled", "0" * 64) == (api.state(TWO)["status"], api.state(TWO)["plan_hash"])


def test_a_recorded_log_can_be_a_file_and_its_outputs_are_included_on_request(api, tmp_path):
    info = {"bytes": 2, "sha256": "0" * 64, "included": True}
    payload = {"artifact_key": "k", "info": info, "content": {"x": 1}}
    path = tmp_path / "log"
    path.write_bytes(line(ONE, 1, "node_output", output=payload))
    api.server.serve_log(str(path))
    assert payload == api.events(ONE, include_output=1)[0]["output"]
    bare = api.events(ONE)[0]["output"]
    assert (False, False) == ("content" in bare, bare["info"]["included"])
    assert {"x": 1} == api.state(ONE)["nodes"][0]["output"]


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b'{"run_id": "x", "seq": 1}',
        b'{"seq": 1}',
        b'{"run_id": 5, "seq": 1}',
        b"\xff",
        b'{"run_id": "%s", "seq": "1"}' % str(ONE).encode(),
    ],
)
def test_a_log_with_a_line_that_is_not_an_event_is_refused(api, bad):
    with pytest.raises(InvalidArgumentError, match="line 2"):
        api.server.serve_log([line(ONE, 1), bad])


def test_a_run_id_can_be_added_once(api):
    api.server.script(str(ONE))
    for again in (lambda: api.server.add_run(ONE), lambda: api.server.serve_log([line(ONE, 1)])):
        with pytest.raises(InvalidArgumentError) as caught:
            again()
        assert "run_id" == caught.value.field
    with pytest.raises(InvalidArgumentError):
        api.server.script("one")


def test_a_scripted_run_serves_what_was_appended(api):
    run = api.server.script()
    assert (1, str(run.run_id)) == (run.append({"type": "x"})["seq"], run.append({"type": "x"})["run_id"])
    assert 9 == run.append({"type": "x", "seq": 9})["seq"]
    assert 2 == run.append({"type": "x", "seq": 2})["seq"]
    run.append_line(b"not json")
    run.append_line(b'{"seq": 10}\n', seq=10)
    run.append_line(b"[1]")
    run.append({"type": "node_y", "node_id": "n", "seq": "odd"})
    assert "running" == api.state(run.run_id)["status"]
    run.set_status("waiting")
    assert "waiting" == api.state(run.run_id)["status"]
    run.finish("succeeded")
    assert "succeeded" == api.state(run.run_id)["status"]
    whole = api.get(f"/runs/{run.run_id}/events").content.splitlines()
    later = api.get(f"/runs/{run.run_id}/events", after_seq=9).content.splitlines()
    assert (8, [b'{"seq": 10}', b"[1]"]) == (len(whole), later[:2])


def test_an_added_run_can_stay_open_and_have_a_status(api):
    run = api.server.add_run(
        ONE, [{"type": "run_started", "plan_hash": "1" * 64}], finish=False, status="waiting"
    )
    state = api.state(ONE)
    assert ("waiting", "1" * 64) == (state["status"], state["plan_hash"])
    run.append(ENDED)
    assert 2 == len(api.events(ONE))


def test_unknown_runs_are_not_found(serve, tmp_path):
    assert 404 == serve(directory=tmp_path).get(f"/runs/{uuid4()}").status


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.run.json", b"{}"),
        (f"{ONE}.run.json", b"{"),
        (f"{ONE}.run.json", b"[]"),
        (f"{ONE}.run.json", b'{"spec": {}}'),
    ],
)
def test_a_directory_with_a_foreign_record_is_refused(serve, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidArgumentError, match="move it away") as caught:
        serve(directory=tmp_path)
    assert "directory" == caught.value.field
