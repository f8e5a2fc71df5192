"""Add up the cost of forty runs on a Dask cluster, from the service and again from recorded logs.

This cluster is two processes; a cluster of many machines works the same way.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from distributed import Client

from rxruns import CostTotals, RunsClient, block_on, merge_runs
from rxruns.dask import fold_logs, fold_runs
from rxruns.devserver import PRICES, DevServer
from rxruns.workflow import chain, llm

spec = chain(
    [llm("draft", user="[[tokens: 300]]"), llm("polish", user="Polish: {{draft}}", model="gpt-4o")],
    model="claude-sonnet-4-5",
)


def main(client: RunsClient, directory: str) -> None:
    run_ids = [client.create(spec).run_id for _ in range(40)]

    # Without a scheduler's address, this starts a LocalCluster.
    with Client(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"):
        folded = fold_runs(run_ids, CostTotals(PRICES))
        show("from the service", folded.value)
        for run_id, error in folded.errors.items():
            print(f"{run_id} could not be followed: {error}")

        for part in range(4):
            path = Path(directory, f"runs-{part}.ndjson")
            block_on(merge_runs(run_ids[part::4], client=client, record=path))
        show("from four logs", fold_logs(f"{directory}/*.ndjson", CostTotals(PRICES)))


def show(source: str, totals: CostTotals) -> None:
    assert totals.usd is not None, f"no price for {totals.unpriced}"
    print(f"{source}: {totals.requests} calls, {totals.total_tokens} tokens, ${totals.usd:.6f}")


if __name__ == "__main__":
    with DevServer() as server, server.client() as client, TemporaryDirectory() as directory:
        # These workers inherit the environment; on other machines, set it where they are started.
        service = {"MODELRELAY_API_KEY": server.api_key, "MODELRELAY_API_BASE_URL": server.url}
        with patch.dict(os.environ, service):
            main(client, directory)
