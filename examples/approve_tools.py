"""Decide about tool calls before they run: yes, with other arguments, or no with a reason for the model."""

from rxruns import RunsClient, block_on, ops, start_run
from rxruns.devserver import DevServer
from rxruns.events import NodeToolResult
from rxruns.tools import Approved, Decision, Denied, PendingCall, Tools
from rxruns.workflow import chain, llm

LIMIT = 5
tools = Tools()


@tools.tool
def find_order(name: str) -> str:
    return f"an order of {name}"


@tools.tool
def refund(dollars: int) -> str:
    return f"refunded ${dollars}"


@tools.tool
def close_account(name: str) -> str:
    return f"closed the account of {name}"


spec = chain([llm("support", user="Refund Ada.", model="gpt-4o", tools=tools, tool_execution="client")])


def approve(call: PendingCall) -> Decision:
    """Decide by rules. Asking a person works too: each call has a thread of its own, and the run waits."""
    match call.tool_call.name:
        case "find_order":
            return True
        case "refund":
            print(f"{call.node_id} asks for a refund of ${call.arguments['dollars']}")
            return Approved(arguments={"dollars": min(call.arguments["dollars"], LIMIT)})
        case _:
            return Denied("only a person may close an account")


def main(client: RunsClient) -> None:
    results = start_run(spec, client=client).pipe(
        ops.execute_tools(tools, approve=approve),
        ops.of_type(NodeToolResult),
        ops.tap(lambda event: print(f"{event.tool_result.tool_call.name}: {event.tool_result.output}")),
    )
    block_on(results)


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client)
