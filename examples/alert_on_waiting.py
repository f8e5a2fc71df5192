"""Alert when a node waits for tools or for a person and has had no event for more than a minute."""

from collections.abc import Callable

import reactivex
from reactivex import Observable

from rxruns import RunsClient, block_on, ops, start_run
from rxruns.devserver import DevServer
from rxruns.events import NodeWaiting, RunEvent
from rxruns.models import NodeStatus
from rxruns.operators import Overdue
from rxruns.workflow import chain, llm

spec = chain([llm("ask", user="Continue?", model="gpt-4o", tools=["ask_boss"], tool_execution="client")])


def waiting_too_long(seconds: float = 60.0) -> Callable[[Observable[RunEvent]], Observable[Overdue]]:
    """Emit each node that waits without an event for `seconds`, once for each silence, of any run."""
    return reactivex.compose(
        ops.overdue(seconds, of="node"),
        ops.filter(lambda alert: alert.status == NodeStatus.WAITING),
    )


def page(alert: Overdue) -> None:
    """Your alert: a message to the person on call, for instance."""
    names = ""
    if isinstance(alert.last, NodeWaiting):
        calls = alert.last.waiting.pending_tool_calls
        names = " for " + ", ".join(pending.tool_call.name for pending in calls)
    print(f"node {alert.node_id} has been waiting{names} for {alert.seconds:g} s")


def main(client: RunsClient, seconds: float = 60.0) -> None:
    alerts = start_run(spec, client=client).pipe(waiting_too_long(seconds), ops.first())
    block_on(alerts.pipe(ops.tap(page)))


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client, seconds=0.1)
