"""Record runs, convert their logs to a Parquet file, and query which model writes most.

DuckDB, Polars and Spark read the recorded NDJSON directly. Needs ``pip install duckdb``.
"""

import tempfile
from pathlib import Path

import duckdb

from rxruns import RunsClient, block_on, merge_runs
from rxruns.devserver import DevServer
from rxruns.workflow import chain, llm

spec = chain(
    [llm("draft", user="[[tokens: 900]]"), llm("polish", user="Polish: {{draft}}", model="gpt-4o")],
    model="claude-sonnet-4-5",
)

# Named columns give the same table for all logs, also for those without a model call; others are not read.
USAGE = "STRUCT(input_tokens BIGINT, output_tokens BIGINT, total_tokens BIGINT)"
COLUMNS = {
    "run_id": "UUID",
    "seq": "BIGINT",
    "type": "VARCHAR",
    "ts": "TIMESTAMPTZ",
    "node_id": "VARCHAR",
    "llm_call": f"STRUCT(provider VARCHAR, model VARCHAR, usage {USAGE})",
}
QUERY = """
    SELECT llm_call.model, count(*), sum(llm_call.usage.output_tokens)::BIGINT AS written
    FROM read_parquet($runs) WHERE type = 'node_llm_call' GROUP BY ALL ORDER BY written DESC
"""


def to_parquet(logs: str, parquet: Path) -> None:
    """Convert recorded logs; `logs` may be a pattern such as ``logs/*.ndjson``, or ``.ndjson.gz``."""
    duckdb.read_json(logs, columns=COLUMNS, format="newline_delimited").write_parquet(str(parquet))


def main(client: RunsClient, folder: Path) -> None:
    run_ids = [client.create(spec).run_id for _ in range(10)]
    block_on(merge_runs(run_ids, client=client, record=folder / "runs.ndjson"))
    to_parquet(f"{folder}/*.ndjson", folder / "runs.parquet")
    answer = duckdb.execute(QUERY, {"runs": str(folder / "runs.parquet")})
    for model, calls, written in answer.fetchall():
        print(f"{model}: {calls} calls, {written} tokens written")


if __name__ == "__main__":
    with DevServer() as server, server.client() as client, tempfile.TemporaryDirectory() as folder:
        main(client, Path(folder))
