"""The names of spans, attributes and span events: the only place where they are written.

Names that start with ``gen_ai.`` and ``error.`` are those of the OpenTelemetry semantic conventions for
generative AI, version 1.41.0. They are still in development there: later versions may rename them. Names that
start with ``rxruns.`` are ours.
"""

from __future__ import annotations

from typing import Final

SEMCONV: Final = "1.41.0"
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{SEMCONV}"

# ---- operations: the beginning of a span's name, and `gen_ai.operation.name` ----
INVOKE_WORKFLOW: Final = "invoke_workflow"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"

# ---- conventions ----
OPERATION: Final = "gen_ai.operation.name"
WORKFLOW: Final = "gen_ai.workflow.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
ERROR_TYPE: Final = "error.type"
OTHER_ERROR: Final = "_OTHER"
"""The ``error.type`` of an error without a code."""

# ---- conventions, exported with ``content=True`` alone ----
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"

# ---- not in the conventions, but read by several backends ----
COST: Final = "gen_ai.usage.cost"
"""US dollars."""

# ---- OpenInference, for the kinds of spans in Phoenix: it derives the other kinds from the operation ----
KIND: Final = "openinference.span.kind"
CHAIN: Final = "CHAIN"
"""The kind of runs and of nodes."""

# ---- ours, on every span ----
RUN_ID: Final = "rxruns.run_id"
SEQ: Final = "rxruns.seq"
"""``seq`` of the event that ended the span."""

# ---- ours ----
NODE_ID: Final = "rxruns.node_id"
ATTEMPT: Final = "rxruns.attempt"
STATUS: Final = "rxruns.status"
STEP: Final = "rxruns.step"
REQUEST_ID: Final = "rxruns.request_id"
PLAN_HASH: Final = "rxruns.plan_hash"
TOTAL_TOKENS: Final = "rxruns.total_tokens"
TEXT: Final = "rxruns.text"
START_ESTIMATED: Final = "rxruns.start_estimated"
RESULT_MISSING: Final = "rxruns.result_missing"
REASON: Final = "rxruns.reason"
TOOLS: Final = "rxruns.tools"
OPTIONS: Final = "rxruns.options"
QUESTION: Final = "rxruns.question"
ANSWER: Final = "rxruns.answer"

# ---- span events ----
WAITING: Final = "rxruns.waiting"
USER_ASK: Final = "rxruns.user_ask"
USER_ANSWER: Final = "rxruns.user_answer"
