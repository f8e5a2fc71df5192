"""Start runs one after the other until their cost exceeds the budget."""

import reactivex
from reactivex import Observable

from rxruns import RunsClient, block_on, ops, start_run
from rxruns.devserver import PRICES, DevServer
from rxruns.errors import BudgetError
from rxruns.events import RunEvent
from rxruns.workflow import workflow

BUDGET = "0.05"
TOPICS = ["tides", "comets", "moss", "glass", "salt", "wool", "ice", "rust"]
spec = (
    workflow("article", model="claude-sonnet-4-5")
    .input("topic")
    .llm("write", user="[[tokens: 900]] Write about {{topic}}.")
    .output("text", from_="write")
    .build()
)


def main(client: RunsClient) -> None:
    def run(topic: str) -> Observable[RunEvent]:
        return start_run(spec, client=client, input={"topic": topic})

    def show(event: RunEvent) -> None:
        print(f"{event.run_id!s:.8} {event.type}")

    runs = reactivex.from_iterable(TOPICS).pipe(ops.map(run), ops.concat_all())  # each starts when subscribed
    try:
        block_on(
            runs.pipe(
                ops.budget(BUDGET, PRICES),
                ops.filter(lambda event: event.type == "run_completed"),
                ops.tap(show),
            )
        )
    except BudgetError as error:
        # The last run continues at the service, and may cost more; no other run is started.
        print(f"{error}; {error.totals.requests} calls of {len(TOPICS)}")


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client)
