"""Alert when a node has waited for tools or for a person for more than a minute."""

from collections.abc import Callable
from operator import attrgetter
from uuid import UUID

import reactivex
from reactivex import GroupedObservable, Observable, abc

from rxruns import RunsClient, block_on, ops, start_run
from rxruns.devserver import DevServer
from rxruns.events import NodeEvent, RunEvent, TerminalEvent
from rxruns.models import NodeStatus
from rxruns.state import NodeState
from rxruns.workflow import chain, llm

spec = chain([llm("ask", user="Continue?", model="gpt-4o", tools=["ask_boss"], tool_execution="client")])


def waiting_too_long(
    seconds: float = 60.0, scheduler: abc.SchedulerBase | None = None
) -> Callable[[Observable[RunEvent]], Observable[str]]:
    """Emit the id of each node that waits for `seconds` after its event arrived, once for each wait."""

    def alert(node: NodeState) -> Observable[str]:
        if node.status != NodeStatus.WAITING:
            return reactivex.empty()
        return reactivex.timer(seconds, scheduler=scheduler).pipe(ops.map(lambda _: node.id))

    def of_node(events: GroupedObservable[str, NodeEvent]) -> Observable[str]:
        return events.pipe(
            ops.scan(NodeState.step_to, NodeState(id=events.key)),
            ops.distinct_until_changed(attrgetter("status")),  # after one of two answers it still waits
            ops.switch_map(alert),
        )

    def of_run(events: GroupedObservable[UUID, RunEvent]) -> Observable[str]:
        named = events.pipe(ops.of_type(NodeEvent))
        nodes: Observable[GroupedObservable[str, NodeEvent]] = named.pipe(ops.group_by(attrgetter("node_id")))
        return nodes.pipe(ops.flat_map(of_node), ops.take_until(events.pipe(ops.of_type(TerminalEvent))))

    def alerts(events: Observable[RunEvent]) -> Observable[str]:
        runs: Observable[GroupedObservable[UUID, RunEvent]] = events.pipe(ops.group_by(attrgetter("run_id")))
        return runs.pipe(ops.flat_map(of_run))

    return alerts


def main(client: RunsClient, seconds: float = 60.0) -> None:
    alerts = start_run(spec, client=client).pipe(waiting_too_long(seconds), ops.first())
    print(f"node {block_on(alerts)} has been waiting for {seconds:g} s")


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client, seconds=0.1)
