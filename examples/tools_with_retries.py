"""Answer tool calls with a function that sometimes fails, and retry it before the model gets an error."""

import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from rxruns import RunsClient, block_on, ops, start_run
from rxruns.devserver import DevServer
from rxruns.events import NodeToolResult
from rxruns.tools import Tools
from rxruns.workflow import chain, llm

P = ParamSpec("P")
R = TypeVar("R")

tools = Tools()


def retried(times: int, pause: float) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Retry after a ConnectionError with growing pauses; the last error is raised."""

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)  # the arguments of a call are checked against the function's own signature
        def calling(*args: P.args, **kwargs: P.kwargs) -> R:
            for attempt in range(times):
                try:
                    return function(*args, **kwargs)
                except ConnectionError as error:
                    print(f"attempt {attempt + 1}: {error}")
                    time.sleep(pause * 2**attempt)  # on the thread of this call
            return function(*args, **kwargs)

        return calling

    return wrap


def main(client: RunsClient) -> None:
    faults = iter(["no route", "reset by peer"])

    @tools.tool
    @retried(times=3, pause=0.01)
    def weather(place: str) -> str:
        if fault := next(faults, None):
            raise ConnectionError(fault)
        return f"fair in {place}"

    spec = chain([llm("ask", user="How is it?", model="gpt-4o", tools=tools, tool_execution="client")])
    answered = start_run(spec, client=client).pipe(ops.execute_tools(tools, client=client, timeout=30))
    result = block_on(answered.pipe(ops.of_type(NodeToolResult), ops.first()))
    print(f"the model gets: {result.tool_result.output if result else None}")


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client)
