"""The events: a frozen struct for each event type of the wire, and the payloads inside them.

Attributes are named as on the wire (``from``, a keyword of Python, is ``from_``), arrays are tuples, ids are
:class:`uuid.UUID`, times are aware :class:`datetime.datetime`. An absent optional field is None.

Classes form categories, with which ``isinstance`` and ``ops.of_type`` select many types at once::

    RunEvent
      TerminalEvent    RunCompleted RunFailed RunCanceled: nothing follows them
      NodeEvent        all that have a node_id
        SchedulerEvent
      UnknownEvent     a type that this version does not know

>>> from uuid import uuid4
>>> from datetime import datetime, timezone
>>> event = NodeStarted(run_id=uuid4(), seq=3, ts=datetime.now(timezone.utc), node_id="draft")
>>> event.type, isinstance(event, NodeEvent)
('node_started', True)
"""

# No annotations as text: msgspec would compile each of them for each schema at each import.
import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, dataclass_transform
from uuid import UUID

from msgspec import UNSET, Meta, Struct, field

from rxruns._errors import must_be

# fmt: off
__all__ = [
    "KNOWN_EVENTS", "MAX_INTEGER", "NIL", "Count", "ExcludedArtifact", "Filled", "LLMCall",
    "MemoryUpdated", "NodeError",
    "NodeEvent", "NodeFailed", "NodeLLMCall", "NodeOutput", "NodeOutputDelta", "NodeStarted",
    "NodeSucceeded", "NodeToolCall", "NodeToolResult", "NodeUserAnswer", "NodeUserAsk", "NodeWaiting",
    "OutputDelta", "Payload", "PayloadArtifact", "PayloadInfo", "PendingToolCall", "PlanEvent", "Positive",
    "RunCanceled", "RunCompiled", "RunCompleted", "RunEvent", "RunFailed", "RunStarted",
    "SchedulerAgentCompleted", "SchedulerAgentCompletion", "SchedulerAgentStart", "SchedulerAgentStarted",
    "SchedulerCoordinatorCompleted", "SchedulerCoordinatorCompletion", "SchedulerCoordinatorStart",
    "SchedulerCoordinatorStarted", "SchedulerEvent", "SchedulerMessageReceived", "SchedulerMessageSent",
    "SchedulerParticipant", "SchedulerPolicy", "SchedulerReceivedMessage", "SchedulerRoundCompleted",
    "SchedulerRoundCompletion", "SchedulerRoundStart", "SchedulerRoundStarted", "SchedulerSentMessage",
    "SchedulerStart", "SchedulerStarted", "SchedulerStop", "SchedulerStopped", "Sha256", "StepPayload",
    "TaskListUpdated", "TerminalEvent", "Text", "Timestamp", "TokenUsage", "ToolCall", "ToolCallRequest",
    "ToolCallResult", "ToolCallWithArguments", "UnknownEvent", "UserAnswer", "UserAsk", "UserAskOption",
    "Waiting",
]
# fmt: on

MAX_INTEGER = 2**63 - 1
"""The largest valid ``seq``, count or index. Sums stay printable, and databases can store each of them."""

Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Positive = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
Text = Annotated[str, Meta(min_length=1)]
Filled = Annotated[str, Meta(pattern=r"\S", description="text that is not blank")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z", description="64 lower-case hex digits")]
Timestamp = Annotated[datetime, Meta(tz=True)]

NIL = UUID(int=0)


# To type checkers `frozen=True` is not inherited, unless it is the default.
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Payload(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The base of payloads."""


class NodeError(Payload):
    """The error of a node or a run: wire ``error``. ``detail`` is the provider's own, any JSON value."""

    message: Text
    code: str | None = None
    detail: Any = None


class TokenUsage(Payload):
    """Tokens of one call, as metered by its provider. An absent total is input + output."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None


class ToolCall(Payload):
    """A call of a tool. ``arguments`` is JSON text, as the model wrote it."""

    id: Filled
    name: Filled
    arguments: str | None = None


class ToolCallWithArguments(ToolCall):
    """A call of a tool that must be run: it always has arguments."""

    arguments: str  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues] -- frozen: narrower is sound


class PendingToolCall(Payload):
    """One of the calls that a waiting node waits for."""

    tool_call: ToolCallWithArguments


class StepPayload(Payload):
    """A payload of one step of a node: ``step`` counts from 0; ``request_id`` is the model call's."""

    step: Count
    request_id: UUID

    def __post_init__(self) -> None:
        if not self.request_id.int:  # comparing two UUIDs takes four times as long
            raise must_be("request_id", "a UUID other than the nil UUID", self.request_id)


class LLMCall(StepPayload):
    """One call of a model: wire ``llm_call``. Without usage it is unmetered."""

    provider: str | None = None
    model: str | None = None
    response_id: str | None = None
    stop_reason: str | None = None
    usage: TokenUsage | None = None


class ToolCallRequest(StepPayload):
    """A tool call that the model requested: wire ``tool_call`` of ``node_tool_call``."""

    tool_call: ToolCallWithArguments


class ToolCallResult(StepPayload):
    """The result of a tool: wire ``tool_result``."""

    tool_call: ToolCall
    output: str
    error: str | None = None


class Waiting(StepPayload):
    """The calls that a node waits for: wire ``waiting``."""

    pending_tool_calls: Annotated[tuple[PendingToolCall, ...], Meta(min_length=1)]
    reason: Filled


class UserAskOption(Payload):
    """One option of a question."""

    label: Text
    description: str | None = None


class UserAsk(StepPayload):
    """A question to a person: wire ``user_ask``."""

    tool_call: ToolCallWithArguments
    question: Filled
    allow_freeform: bool
    options: tuple[UserAskOption, ...] | None = None


class UserAnswer(StepPayload):
    """A person's answer: wire ``user_answer``."""

    tool_call: ToolCall
    answer: Filled
    is_freeform: bool


class OutputDelta(Payload):
    """A piece of a node's text: wire ``delta``. ``text_delta`` is absent on starts and stops."""

    kind: Text
    text_delta: str | None = None
    model: str | None = None
    response_id: str | None = None


class PayloadInfo(Payload):
    """Size in bytes and hash of an artifact; ``included`` is true if its content is there."""

    bytes: Count
    sha256: Sha256
    included: bool


class PayloadArtifact(Payload):
    """An output, kept by the service under ``artifact_key``.

    ``content`` is :data:`msgspec.UNSET` when absent; null is a value.
    """

    artifact_key: str
    info: PayloadInfo
    content: Any = UNSET

    def __post_init__(self) -> None:
        if self.info.included and self.content is UNSET:
            raise must_be("content", "present if info.included is true", UNSET)


class ExcludedArtifact(PayloadArtifact):
    """An artifact whose content the service never includes."""

    def __post_init__(self) -> None:
        if self.info.included:
            raise must_be("info", "one with included=False", self.info)


class SchedulerParticipant(Payload):
    """An agent that a scheduler may start."""

    agent_id: Text
    agent_ref: str | None = None
    address: str | None = None
    role: str | None = None


class SchedulerPolicy(Payload):
    """The limits of a scheduler; ``timeout_ms`` in milliseconds."""

    max_rounds: Positive
    max_concurrency: Positive
    max_steps: Positive
    timeout_ms: Count


class SchedulerStart(Payload):
    """Wire ``scheduler_started``."""

    topic: Text
    participants: Annotated[tuple[SchedulerParticipant, ...], Meta(min_length=1)]
    policy: SchedulerPolicy


class SchedulerRoundStart(Payload):
    """Wire ``scheduler_round_started``."""

    round_index: Count


class SchedulerCoordinatorStart(Payload):
    """Wire ``scheduler_coordinator_started``."""

    model: str | None = None


class SchedulerCoordinatorCompletion(Payload):
    """Wire ``scheduler_coordinator_completed``."""

    decision: dict[str, Any]


class SchedulerAgentStart(Payload):
    """Wire ``scheduler_agent_started``."""

    agent_id: Text
    agent_run_id: UUID | None = None
    input: str | None = None


class SchedulerAgentCompletion(Payload):
    """Wire ``scheduler_agent_completed``."""

    agent_id: Text
    status: Text
    agent_run_id: UUID | None = None
    summary: str | None = None


class SchedulerSentMessage(Payload):
    """Wire ``scheduler_message_sent``."""

    message_id: UUID
    to: Text


class SchedulerReceivedMessage(Payload):
    """Wire ``scheduler_message_received``."""

    message_id: UUID
    from_: Text = field(name="from")


class SchedulerRoundCompletion(Payload):
    """Wire ``scheduler_round_completed``."""

    round_index: Count
    pending: Count


class SchedulerStop(Payload):
    """Wire ``scheduler_stopped``."""

    reason: Filled


def _v2() -> Literal["v2"]:
    return "v2"


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class RunEvent(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, tag_field="type"):
    """The envelope of every event.

    Attributes:
        run_id: the run that it belongs to.
        seq: its position in the run's log, from 1, without gaps.
        ts: when the service recorded it; the offset is kept.
        envelope_version: ``"v2"``, even if the service left it out.
        type: the event type's name on the wire, a constant of the class.
    """

    type: ClassVar[str]

    run_id: UUID
    seq: Positive
    ts: Timestamp
    # A factory, so that `omit_defaults` keeps it: the contract requires it.
    envelope_version: Literal["v2"] = field(default_factory=_v2)


class UnknownEvent(RunEvent):
    """An event of a type that this version does not know.

    Attributes:
        record: the whole decoded JSON object, as the service sent it.
        type: as in the record.
        node_id: as in the record; None if it has none or it isn't text.
    """

    record: dict[str, Any]

    if not TYPE_CHECKING:  # pragma: no branch -- to a type checker `.type` is the base's class variable

        @property
        def type(self) -> str:
            return self.record["type"]

    @property
    def node_id(self) -> str | None:
        node_id = self.record.get("node_id")
        return node_id if isinstance(node_id, str) else None


class PlanEvent(RunEvent):
    """The base of events of the run itself, which name the compiled plan."""

    plan_hash: Sha256


class TerminalEvent(PlanEvent):
    """The base of the three events that end a run."""


class NodeEvent(RunEvent):
    """The base of events of one node."""

    node_id: Text


class SchedulerEvent(NodeEvent):
    """The base of events of a node that schedules agents."""


class RunCompiled(PlanEvent, tag="run_compiled"):
    """The spec was compiled into a plan."""


class RunStarted(PlanEvent, tag="run_started"):
    """The run began."""


class RunCompleted(TerminalEvent, tag="run_completed"):
    """The run succeeded; ``outputs`` names its artifact."""

    outputs: PayloadArtifact


class RunFailed(TerminalEvent, tag="run_failed"):
    """The run failed."""

    error: NodeError


class RunCanceled(TerminalEvent, tag="run_canceled"):
    """The run was canceled."""

    error: NodeError


class TaskListUpdated(PlanEvent, tag="task_list_updated"):
    """The run's task list was written."""

    task_list: ExcludedArtifact


class MemoryUpdated(PlanEvent, tag="memory_updated"):
    """A memory of the run was written."""

    memory: ExcludedArtifact
    memory_key: str


class NodeStarted(NodeEvent, tag="node_started"):
    """A node began."""


class NodeSucceeded(NodeEvent, tag="node_succeeded"):
    """A node succeeded."""


class NodeFailed(NodeEvent, tag="node_failed"):
    """A node failed."""

    error: NodeError


class NodeLLMCall(NodeEvent, tag="node_llm_call"):
    """A model call ended; the event has its tokens."""

    llm_call: LLMCall


class NodeToolCall(NodeEvent, tag="node_tool_call"):
    """A model requested a tool call."""

    tool_call: ToolCallRequest


class NodeToolResult(NodeEvent, tag="node_tool_result"):
    """A tool call ended; the event has its result."""

    tool_result: ToolCallResult


class NodeWaiting(NodeEvent, tag="node_waiting"):
    """A node waits for results that a client must send."""

    waiting: Waiting


class NodeUserAsk(NodeEvent, tag="node_user_ask"):
    """A node asks a person."""

    user_ask: UserAsk


class NodeUserAnswer(NodeEvent, tag="node_user_answer"):
    """A person answered."""

    user_answer: UserAnswer


class NodeOutputDelta(NodeEvent, tag="node_output_delta"):
    """A piece of a node's text."""

    delta: OutputDelta


class NodeOutput(NodeEvent, tag="node_output"):
    """A node's output was stored."""

    output: PayloadArtifact


class SchedulerStarted(SchedulerEvent, tag="scheduler_started"):
    """A scheduler began."""

    scheduler_started: SchedulerStart


class SchedulerRoundStarted(SchedulerEvent, tag="scheduler_round_started"):
    """A round began."""

    scheduler_round_started: SchedulerRoundStart


class SchedulerCoordinatorStarted(SchedulerEvent, tag="scheduler_coordinator_started"):
    """The coordinator began."""

    scheduler_coordinator_started: SchedulerCoordinatorStart


class SchedulerCoordinatorCompleted(SchedulerEvent, tag="scheduler_coordinator_completed"):
    """The coordinator decided."""

    scheduler_coordinator_completed: SchedulerCoordinatorCompletion


class SchedulerAgentStarted(SchedulerEvent, tag="scheduler_agent_started"):
    """An agent began."""

    scheduler_agent_started: SchedulerAgentStart


class SchedulerAgentCompleted(SchedulerEvent, tag="scheduler_agent_completed"):
    """An agent ended."""

    scheduler_agent_completed: SchedulerAgentCompletion


class SchedulerMessageSent(SchedulerEvent, tag="scheduler_message_sent"):
    """A message was sent."""

    scheduler_message_sent: SchedulerSentMessage


class SchedulerMessageReceived(SchedulerEvent, tag="scheduler_message_received"):
    """A message arrived."""

    scheduler_message_received: SchedulerReceivedMessage


class SchedulerRoundCompleted(SchedulerEvent, tag="scheduler_round_completed"):
    """A round ended."""

    scheduler_round_completed: SchedulerRoundCompletion


class SchedulerStopped(SchedulerEvent, tag="scheduler_stopped"):
    """The scheduler stopped."""

    scheduler_stopped: SchedulerStop


KNOWN_EVENTS: tuple[type[RunEvent], ...] = (
    RunCompiled,
    RunStarted,
    RunCompleted,
    RunFailed,
    RunCanceled,
    TaskListUpdated,
    MemoryUpdated,
    NodeStarted,
    NodeSucceeded,
    NodeFailed,
    NodeLLMCall,
    NodeToolCall,
    NodeToolResult,
    NodeWaiting,
    NodeUserAsk,
    NodeUserAnswer,
    NodeOutputDelta,
    NodeOutput,
    SchedulerStarted,
    SchedulerRoundStarted,
    SchedulerCoordinatorStarted,
    SchedulerCoordinatorCompleted,
    SchedulerAgentStarted,
    SchedulerAgentCompleted,
    SchedulerMessageSent,
    SchedulerMessageReceived,
    SchedulerRoundCompleted,
    SchedulerStopped,
)
"""One class for each of the 28 event types of the wire."""

for _event_class in KNOWN_EVENTS:
    _event_class.type = str(_event_class.__struct_config__.tag)

if not TYPE_CHECKING:  # pragma: no branch -- a type checker refuses the old name

    def __getattr__(name: str) -> Any:
        if name != "TERMINAL_EVENTS":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(
            "rxruns.events.TERMINAL_EVENTS is deprecated and will be removed in the next release; use "
            "isinstance(event, (RunCompleted, RunFailed, RunCanceled))",
            DeprecationWarning,
            stacklevel=2,
        )
        return frozenset((RunCompleted, RunFailed, RunCanceled))
