"""Test a pipeline of your own: without a service, in virtual time, and over a network that breaks."""

from collections.abc import Callable
from operator import add

import pytest
from reactivex import Observable

from rxruns import block_on, ops, run_events
from rxruns.events import NodeOutputDelta, RunEvent
from rxruns.testing import QUICK, FakeRuns, Step, drawn, drops, events, play, refuses, sends

LOG = events.run(every=1.0).node("draft").text("It ", "rains").after(40).text(".").succeeds()


def headline(node_id: str = "draft") -> Callable[[Observable[RunEvent]], Observable[str]]:
    """The pipeline under test: the text of a node after each pause of ten seconds."""

    def titled(source: Observable[RunEvent]) -> Observable[str]:
        return source.pipe(
            ops.for_node(node_id),
            ops.of_type(NodeOutputDelta),
            ops.map(lambda event: event.delta.text_delta or ""),
            ops.scan(add),
            ops.debounce(10.0),
        )

    return titled


def test_a_headline_is_emitted_when_the_node_pauses() -> None:
    assert [(14.0, "It rains"), (47.0, "It rains.")] == play(LOG, headline()).values


def test_a_headline_belongs_to_one_node() -> None:
    assert [] == play(LOG, headline("edit")).values


def test_events_of_other_nodes_are_skipped() -> None:
    log = events.run().node("draft").node("edit").succeeds()
    assert "-----c---e-----|" == drawn("-a-b-c-d-e-f-g-|", log, ops.for_node("draft"))


@pytest.mark.parametrize("fault", [drops(), refuses(503), refuses(429)], ids=repr)
def test_a_broken_network_changes_nothing(fake_runs: Callable[..., FakeRuns], fault: Step) -> None:
    service = fake_runs(sends(LOG[:4]), fault, sends(LOG[4:]))
    with service.client() as client:
        texts = run_events(LOG.run_id, client=client, resume=QUICK).pipe(headline(), ops.to_list())
        assert ["It rains."] == block_on(texts)

    assert [0, 4] == sorted({request.after_seq for request in service.streams})
