"""Relay the events of a run to browsers, as server-sent events from an asyncio web application.

``EventSource`` reconnects by itself and sends the id of the last event that it received, so no event is lost.
Serve it with any ASGI server; when a visitor leaves, thread and socket are freed. Needs Starlette
(``pip install starlette``), which the extra ``dev`` includes.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from rxruns import RunsClient, aio
from rxruns.devserver import DevServer
from rxruns.schemas import RunEventSchema
from rxruns.workflow import chain, llm

schema = RunEventSchema()


async def relay(client: RunsClient, run_id: UUID, after_seq: int) -> AsyncIterator[str]:
    """The run's events as they arrive; disposed when the response is cancelled, closed or complete."""
    async with aio.events(run_id, client=client, after_seq=after_seq) as events:
        async for event in events:
            yield f"id: {event.seq}\nevent: {event.type}\ndata: {json.dumps(schema.dump(event))}\n\n"


def application(client: RunsClient) -> Starlette:
    async def run_events(request: Request) -> StreamingResponse:
        seen = request.headers.get("last-event-id", "")
        events = relay(client, request.path_params["run_id"], int(seen) if seen.isdecimal() else 0)
        return StreamingResponse(events, media_type="text/event-stream")

    return Starlette(routes=[Route("/runs/{run_id:uuid}/events", run_events)])


def main(client: RunsClient) -> None:
    """Act as the server for one visitor."""
    run_id = client.create(chain([llm("hello", user="Say hello.", model="gpt-4o")])).run_id
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": f"/runs/{run_id}/events", "headers": []}

    async def receive() -> dict[str, Any]:
        return await asyncio.Future()  # the visitor stays

    async def send(message: Mapping[str, Any]) -> None:
        print(message.get("body", b"").decode(), end="")

    asyncio.run(application(client)(scope, receive, send))


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client)
