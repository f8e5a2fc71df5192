"""Requests and responses of the REST calls: frozen structs, named as in the service's OpenAPI description.

Enums of responses are open: ``status``, ``type`` and providers are text, so that a future value is kept.
:class:`RunStatus` and :class:`NodeStatus` name the known ones, and compare equal to the text:

>>> "running" == RunStatus.RUNNING
True
"""

# No annotations as text: msgspec would compile each of them for each schema at each import.
from enum import StrEnum
from typing import Any, dataclass_transform
from uuid import UUID

from msgspec import Struct, field, structs

from rxruns._errors import must_be
from rxruns.events import NIL, Count, Filled, Sha256, Text, Timestamp

# fmt: off
__all__ = [
    "Model", "NodeResult", "NodeResultError", "NodeStatus", "RunCostLineItem", "RunCostSummary",
    "RunNodeStep", "RunNodeStepLLMCall", "RunNodeStepUsage", "RunNodeStepWaiting", "RunNodeSteps",
    "RunStatus", "RunStepDetail", "RunStepsResponse", "RunSummary", "RunTask", "RunTaskStatus",
    "RunTasksResponse", "RunToolCallDetail", "RunToolResult", "RunsCreateBody", "RunsCreateFromPlanRequest",
    "RunsCreateOptions", "RunsCreateRequest", "RunsCreateResponse", "RunsFanoutSubnodeOverride",
    "RunsGetResponse", "RunsModelOverrides", "RunsPendingToolCall", "RunsPendingToolsNode",
    "RunsPendingToolsResponse", "RunsToolCall", "RunsToolResultItem", "RunsToolResultsRequest",
    "RunsToolResultsResponse", "WorkflowIssue", "WorkflowsCompileResponse", "WorkflowsLintResponse",
]
# fmt: on


class RunStatus(StrEnum):
    """The states of a run that are known today."""

    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class NodeStatus(StrEnum):
    """The states of a node that are known today."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class RunTaskStatus(StrEnum):
    """The states of a task that are known today."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


# To type checkers `frozen=True` is not inherited, unless it is the default.
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Model(Struct, frozen=True, gc=False, omit_defaults=True):
    """The base of requests, responses and their parts."""


# ---- requests ----


class RunsFanoutSubnodeOverride(Model):
    """The model of a fan-out's subnode."""

    parent_id: Text
    subnode_id: Text
    model: Filled


class RunsModelOverrides(Model):
    """Models by node id, and those of fan-out subnodes.

    >>> subnode = RunsFanoutSubnodeOverride(parent_id="each", subnode_id="one", model="gpt-5")
    >>> RunsModelOverrides(nodes={"draft": "gpt-5"}, fanout_subnodes=(subnode,)).nodes
    {'draft': 'gpt-5'}
    """

    nodes: dict[str, str] | None = None
    fanout_subnodes: tuple[RunsFanoutSubnodeOverride, ...] | None = None


class RunsCreateOptions(Model):
    """``options`` of ``POST /runs``."""

    idempotency_key: Filled


class RunsCreateBody(Model):
    """The fields that both forms of ``POST /runs`` share."""

    input: dict[str, Any] | None = None
    model_override: Filled | None = None
    model_overrides: RunsModelOverrides | None = None
    session_id: UUID | None = None
    stream: bool | None = None
    options: RunsCreateOptions | None = None

    def __post_init__(self) -> None:
        if self.session_id == NIL:
            raise must_be("session_id", "a UUID other than the nil UUID", self.session_id)


class RunsCreateRequest(RunsCreateBody, kw_only=True):
    """``POST /runs`` with a workflow spec."""

    spec: dict[str, Any]


class RunsCreateFromPlanRequest(RunsCreateBody, kw_only=True):
    """``POST /runs`` with the hash of a compiled plan."""

    plan_hash: Sha256


class RunsToolCall(Model):
    """A tool call; ``arguments`` is JSON text."""

    id: Filled
    name: Filled
    arguments: str | None = None


class RunsToolResultItem(Model):
    """The result of a tool for one call."""

    tool_call: RunsToolCall
    output: str


class RunsToolResultsRequest(Model):
    """``POST /runs/{id}/tool-results``; node, step and request id are those of the pending calls.

    Checked against its schema when it is sent.

    Raises:
        InvalidArgumentError: at once for a nil ``request_id``.

    >>> call = RunsToolCall(id="call_1", name="get_time")
    >>> results = (RunsToolResultItem(call, "half past twelve"),)
    >>> RunsToolResultsRequest("answer", step=0, request_id=UUID(int=5), results=results).results[0].output
    'half past twelve'
    """

    node_id: Text
    step: Count
    request_id: UUID
    results: tuple[RunsToolResultItem, ...]

    def __post_init__(self) -> None:
        if self.request_id == NIL:
            raise must_be("request_id", "a UUID other than the nil UUID", self.request_id)


# ---- responses ----


class RunsCreateResponse(Model):
    """The run that was started, now or before with the same idempotency key."""

    run_id: UUID
    status: str
    plan_hash: Sha256


class RunCostLineItem(Model):
    """The cost of one model of one provider, in US cents."""

    provider_id: str
    model: str
    requests: Count
    input_tokens: Count
    output_tokens: Count
    usd_cents: Count


class RunCostSummary(Model):
    """The cost of a run, in US cents."""

    total_usd_cents: Count
    line_items: tuple[RunCostLineItem, ...] = ()


class RunSummary(Model):
    """Counts over a run."""

    total_steps: Count
    total_llm_calls: Count
    total_tool_calls: Count
    total_input_tokens: Count
    total_output_tokens: Count
    total_cost_cents: Count


class NodeResultError(Model):
    """The error of a node; ``detail`` is the provider's own, any JSON value."""

    message: str
    code: str | None = None
    detail: Any = None


class NodeResult(Model):
    """A node's state as the service derives it; ``output`` is any JSON value."""

    id: Text
    type: str
    status: str
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    output: Any = None
    error: NodeResultError | None = None


class RunsPendingToolCall(Model):
    """A tool call that waits for its result."""

    tool_call: RunsToolCall


class RunToolResult(Model):
    """A tool call's result."""

    tool_call: RunsToolCall
    output: str
    error: str | None = None


class RunNodeStepWaiting(Model):
    """The calls that a step waits for."""

    reason: str | None = None
    pending_tool_calls: tuple[RunsPendingToolCall, ...] = ()


class RunNodeStepUsage(Model):
    """Tokens of a step; an absent count is 0."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    total_tokens: Count = 0


class RunNodeStepLLMCall(Model):
    """The model call of a step."""

    provider: str | None = None
    model: str | None = None
    response_id: str | None = None
    stop_reason: str | None = None
    usage: RunNodeStepUsage | None = None


class RunNodeStep(Model):
    """One step of a node, from ``include=("steps",)``."""

    step: Count
    request_id: UUID
    llm_call: RunNodeStepLLMCall | None = None
    tool_calls: tuple[RunsPendingToolCall, ...] = ()
    tool_results: tuple[RunToolResult, ...] = ()
    waiting: RunNodeStepWaiting | None = None


class RunNodeSteps(Model):
    """The steps of one node."""

    node_id: Text
    steps: tuple[RunNodeStep, ...] = ()


class RunsGetResponse(Model):
    """A run as the service derives it from its log.

    Attributes:
        status: as of :class:`RunStatus`, or a future one.
        cost_summary: in US cents.
        nodes: each node's state and output.
        outputs: the run's results by the names of its spec's outputs, once it has ended; any JSON value.
        summary: counts, if the service sends them.
        steps: by node, with ``include=("steps",)``.
    """

    run_id: UUID
    status: str
    plan_hash: Sha256
    cost_summary: RunCostSummary
    nodes: tuple[NodeResult, ...] = ()
    outputs: Any = field(default_factory=dict[str, Any])
    summary: RunSummary | None = None
    steps: tuple[RunNodeSteps, ...] = ()
    parent_run_id: UUID | None = None

    def __post_init__(self) -> None:
        if self.outputs is None:  # null is absent, and a type of any value takes it
            structs.force_setattr(self, "outputs", {})


class RunStepDetail(Model):
    """One step of a node, with the model's request and response if the service keeps them."""

    node_id: Text
    step: Count
    request_id: UUID | None = None
    llm_call: dict[str, Any] | None = None
    llm_request: dict[str, Any] | None = None
    llm_response: dict[str, Any] | None = None
    tool_calls: tuple[RunsPendingToolCall, ...] = ()
    tool_results: tuple[RunToolResult, ...] = ()


class RunStepsResponse(Model):
    """The steps of a run's nodes."""

    steps: tuple[RunStepDetail, ...] = ()


class RunToolCallDetail(Model):
    """One tool call of a step, with its result once there is one."""

    node_id: Text
    step: Count
    tool_call: RunsToolCall
    tool_result: RunToolResult | None = None


class RunTask(Model):
    """An entry of a run's task list; ``active_form`` is its text while it is in progress."""

    content: str
    status: str
    active_form: str | None = None


class RunTasksResponse(Model):
    """The task list that a run's model keeps with the tool ``tasks.write``."""

    tasks: tuple[RunTask, ...] = ()


class RunsPendingToolsNode(Model):
    """A node that waits, and its calls."""

    node_id: Text
    step: Count
    request_id: UUID
    tool_calls: tuple[RunsPendingToolCall, ...] = ()


class RunsPendingToolsResponse(Model):
    """The tool calls of a run that wait for results."""

    run_id: UUID
    pending: tuple[RunsPendingToolsNode, ...] = ()


class RunsToolResultsResponse(Model):
    """The number of accepted results, and the run's status after them."""

    accepted: Count
    status: str


class WorkflowIssue(Model):
    """A mistake in a workflow spec; ``path`` is a JSON path such as ``$.nodes[0].id``."""

    code: str
    path: str
    message: str


class WorkflowsLintResponse(Model):
    """The mistakes that the service finds in a workflow spec, and its plan if it can be compiled.

    Attributes:
        lint_issues: of the JSON schemas in ``output_format``.
        compile_issues: the reasons why it can't be compiled.
        compile_error: a failure to compile that isn't the spec's.
    """

    kind: str | None = None
    lint_issues: tuple[WorkflowIssue, ...] = ()
    compile_issues: tuple[WorkflowIssue, ...] = ()
    compile_error: str | None = None
    plan_hash: str | None = None
    plan_json: dict[str, Any] | None = None


class WorkflowsCompileResponse(Model):
    """A compiled plan. ``plan_hash`` starts runs of it."""

    plan_hash: str
    plan_json: dict[str, Any]
