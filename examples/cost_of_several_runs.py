"""Follow five runs at once, add up their cost, and compare it with the service's own totals."""

from decimal import Decimal

from rxruns import CostTotals, RunsClient, block_on, merge_runs, ops
from rxruns.devserver import PRICES, DevServer
from rxruns.workflow import chain, llm

spec = chain(
    [llm("draft", user="[[tokens: 900]]"), llm("polish", user="Polish: {{draft}}", model="gpt-4o")],
    model="claude-sonnet-4-5",
)


def main(client: RunsClient) -> None:
    run_ids = [client.create(spec).run_id for _ in range(5)]
    events = merge_runs(run_ids, client=client)
    totals = block_on(events.pipe(ops.cost_totals(PRICES)), default=CostTotals())
    for item in totals.line_items:
        print(f"{item.provider}/{item.model}: {item.requests} calls, {item.total_tokens} tokens, ${item.usd}")
    assert totals.usd is not None, f"no price for {totals.unpriced}"
    print(f"total: {totals.requests} calls, ${totals.usd:.6f}")

    cents = sum(client.get(run_id).cost_summary.total_usd_cents for run_id in run_ids)
    # The service rounds each model of a run to whole cents.
    print(f"the service, in whole cents: ${Decimal(cents) / 100}")


if __name__ == "__main__":
    with DevServer() as server, server.client() as client:
        main(client)
