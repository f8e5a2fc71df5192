"""marshmallow schemas of events, requests and responses.

:class:`RunEventSchema` takes a record of any event type; each type, payload, request and response has a
schema of its own too, made from its struct (see :mod:`rxruns.structschema`). They are ordinary marshmallow
schemas: you can use one alone, subclass it and dump with it.

Schemas of received data are tolerant: unknown fields are dropped, an unknown event type becomes an
:class:`~rxruns.events.UnknownEvent`. Schemas of sent data are strict: unknown fields are refused.

>>> record = {
...     "type": "node_started",
...     "run_id": "7f9c2ba4-e88f-4a2c-9d5a-3f1a6c0f6d11",
...     "seq": 3,
...     "ts": "2026-01-31T12:00:00Z",
...     "node_id": "draft",
... }
>>> event = RunEventSchema().load(record)
>>> event.type, event.node_id
('node_started', 'draft')
>>> RunEventSchema().dump(event) == record | {"envelope_version": "v2"}
True
>>> RunEventSchema().validate(record | {"seq": "3"})
{'seq': ['Not a valid integer.']}
"""

# marshmallow is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, cast

import marshmallow as ma
from marshmallow import fields, validate

from rxruns import events, models
from rxruns.structschema import StructSchema
from rxruns.structschema._loading import Unknown
from rxruns.structschema._polymorphic import PolymorphicSchema

# fmt: off
__all__ = [
    "EVENT_SCHEMAS", "ExcludedArtifactSchema", "LLMCallSchema", "MemoryUpdatedSchema", "NodeErrorSchema",
    "NodeFailedSchema", "NodeLLMCallSchema", "NodeOutputDeltaSchema", "NodeOutputSchema",
    "NodeResultErrorSchema", "NodeResultSchema", "NodeStartedSchema", "NodeSucceededSchema",
    "NodeToolCallSchema", "NodeToolResultSchema", "NodeUserAnswerSchema", "NodeUserAskSchema",
    "NodeWaitingSchema", "OutputDeltaSchema", "PayloadArtifactSchema", "PayloadInfoSchema",
    "PendingToolCallSchema", "Received", "RunCanceledSchema", "RunCompiledSchema", "RunCompletedSchema",
    "RunCostLineItemSchema", "RunCostSummarySchema", "RunEventSchema", "RunFailedSchema",
    "RunNodeStepLLMCallSchema", "RunNodeStepSchema", "RunNodeStepUsageSchema", "RunNodeStepWaitingSchema",
    "RunNodeStepsSchema", "RunStartedSchema", "RunStepDetailSchema", "RunStepsResponseSchema",
    "RunSummarySchema", "RunTaskSchema", "RunTasksResponseSchema", "RunToolCallDetailSchema",
    "RunToolResultSchema",
    "RunsCreateFromPlanRequestSchema", "RunsCreateOptionsSchema", "RunsCreateRequestSchema",
    "RunsCreateResponseSchema", "RunsFanoutSubnodeOverrideSchema", "RunsGetResponseSchema",
    "RunsModelOverridesSchema", "RunsPendingToolCallSchema", "RunsPendingToolsNodeSchema",
    "RunsPendingToolsResponseSchema", "RunsToolCallSchema", "RunsToolResultItemSchema",
    "RunsToolResultsRequestSchema", "RunsToolResultsResponseSchema", "SchedulerAgentCompletedSchema",
    "SchedulerAgentCompletionSchema", "SchedulerAgentStartSchema", "SchedulerAgentStartedSchema",
    "SchedulerCoordinatorCompletedSchema", "SchedulerCoordinatorCompletionSchema",
    "SchedulerCoordinatorStartSchema", "SchedulerCoordinatorStartedSchema",
    "SchedulerMessageReceivedSchema", "SchedulerMessageSentSchema", "SchedulerParticipantSchema",
    "SchedulerPolicySchema", "SchedulerReceivedMessageSchema", "SchedulerRoundCompletedSchema",
    "SchedulerRoundCompletionSchema", "SchedulerRoundStartSchema", "SchedulerRoundStartedSchema",
    "SchedulerSentMessageSchema", "SchedulerStartSchema", "SchedulerStartedSchema", "SchedulerStopSchema",
    "SchedulerStoppedSchema", "Sent", "TaskListUpdatedSchema", "TokenUsageSchema", "ToolCallRequestSchema",
    "ToolCallResultSchema", "ToolCallSchema", "ToolCallWithArgumentsSchema", "UserAnswerSchema",
    "UserAskOptionSchema", "UserAskSchema", "WaitingSchema", "WorkflowIssueSchema",
    "WorkflowsCompileResponseSchema", "WorkflowsLintResponseSchema",
]
# fmt: on

_T = TypeVar("_T")


class Received(StructSchema[_T]):
    """The base of schemas of received data: unknown fields are dropped."""

    class Meta:
        unknown: Unknown = ma.EXCLUDE


class Sent(StructSchema[_T]):
    """The base of schemas of sent data: unknown fields are refused."""


class _UnknownEnvelopeSchema(Received[events.RunEvent]):
    """The envelope of an event of an unknown type."""

    type = fields.String(required=True, validate=validate.Length(min=1))

    @ma.validates_schema
    def _check_rules(self, values: dict[str, Any], **options: Any) -> None:
        """An envelope has no rules between its fields."""

    @ma.post_load(pass_original=True)
    def _make(self, values: dict[str, Any], original: Any, **options: Any) -> events.UnknownEvent:
        if not self._is_whole(values):
            return super()._make(values)  # type: ignore[no-any-return]  # a hook is untyped
        return events.UnknownEvent(record=original, **self._arguments(values))


class RunEventSchema(PolymorphicSchema[events.RunEvent]):
    """Load a record of any event type, and dump any event.

    An unknown type becomes an :class:`~rxruns.events.UnknownEvent`, whose ``record`` is dumped unchanged.
    Options are those of any schema: ``only`` and ``exclude`` name fields, of which each type uses its own.
    With these and ``partial``, ``load`` makes a dict of a record that lacks a required field.

    Raises:
        ValueError: ``only`` or ``exclude`` has a name that isn't a field of any event.
        marshmallow.ValidationError: the record isn't a valid event; the messages are by field.
    """

    class Meta:
        unknown: Unknown = ma.EXCLUDE

    def _kinds(self) -> Iterable[type[StructSchema[Any]]]:
        """Return the schemas of all known types."""
        return EVENT_SCHEMAS.values()

    def _kind_of(self, record: dict[str, Any]) -> type[StructSchema[Any]]:
        """Return the schema for the ``type`` of a record."""
        wire_type = record.get("type")
        return EVENT_SCHEMAS.get(wire_type if isinstance(wire_type, str) else "", _UNKNOWN)

    def _record_of(self, obj: Any) -> dict[str, Any] | None:
        """Return the record of an event of an unknown type."""
        return obj.record if isinstance(obj, events.UnknownEvent) else None


# ---- events ----


class RunCompiledSchema(Received[events.RunCompiled]):
    """``run_compiled``."""


class RunStartedSchema(Received[events.RunStarted]):
    """``run_started``."""


class RunCompletedSchema(Received[events.RunCompleted]):
    """``run_completed``."""


class RunFailedSchema(Received[events.RunFailed]):
    """``run_failed``."""


class RunCanceledSchema(Received[events.RunCanceled]):
    """``run_canceled``."""


class TaskListUpdatedSchema(Received[events.TaskListUpdated]):
    """``task_list_updated``."""


class MemoryUpdatedSchema(Received[events.MemoryUpdated]):
    """``memory_updated``."""


class NodeStartedSchema(Received[events.NodeStarted]):
    """``node_started``."""


class NodeSucceededSchema(Received[events.NodeSucceeded]):
    """``node_succeeded``."""


class NodeFailedSchema(Received[events.NodeFailed]):
    """``node_failed``."""


class NodeLLMCallSchema(Received[events.NodeLLMCall]):
    """``node_llm_call``."""


class NodeToolCallSchema(Received[events.NodeToolCall]):
    """``node_tool_call``."""


class NodeToolResultSchema(Received[events.NodeToolResult]):
    """``node_tool_result``."""


class NodeWaitingSchema(Received[events.NodeWaiting]):
    """``node_waiting``."""


class NodeUserAskSchema(Received[events.NodeUserAsk]):
    """``node_user_ask``."""


class NodeUserAnswerSchema(Received[events.NodeUserAnswer]):
    """``node_user_answer``."""


class NodeOutputDeltaSchema(Received[events.NodeOutputDelta]):
    """``node_output_delta``."""


class NodeOutputSchema(Received[events.NodeOutput]):
    """``node_output``."""


class SchedulerStartedSchema(Received[events.SchedulerStarted]):
    """``scheduler_started``."""


class SchedulerRoundStartedSchema(Received[events.SchedulerRoundStarted]):
    """``scheduler_round_started``."""


class SchedulerCoordinatorStartedSchema(Received[events.SchedulerCoordinatorStarted]):
    """``scheduler_coordinator_started``."""


class SchedulerCoordinatorCompletedSchema(Received[events.SchedulerCoordinatorCompleted]):
    """``scheduler_coordinator_completed``."""


class SchedulerAgentStartedSchema(Received[events.SchedulerAgentStarted]):
    """``scheduler_agent_started``."""


class SchedulerAgentCompletedSchema(Received[events.SchedulerAgentCompleted]):
    """``scheduler_agent_completed``."""


class SchedulerMessageSentSchema(Received[events.SchedulerMessageSent]):
    """``scheduler_message_sent``."""


class SchedulerMessageReceivedSchema(Received[events.SchedulerMessageReceived]):
    """``scheduler_message_received``."""


class SchedulerRoundCompletedSchema(Received[events.SchedulerRoundCompleted]):
    """``scheduler_round_completed``."""


class SchedulerStoppedSchema(Received[events.SchedulerStopped]):
    """``scheduler_stopped``."""


# ---- payloads of events ----


class NodeErrorSchema(Received[events.NodeError]):
    """The error of a node or a run: wire ``error``. ``detail`` is the provider's own, any JSON value."""


class TokenUsageSchema(Received[events.TokenUsage]):
    """Tokens of one call, as metered by its provider. An absent total is input + output."""


class ToolCallSchema(Received[events.ToolCall]):
    """A call of a tool. ``arguments`` is JSON text, as the model wrote it."""


class ToolCallWithArgumentsSchema(Received[events.ToolCallWithArguments]):
    """A call of a tool that must be run: it always has arguments."""


class PendingToolCallSchema(Received[events.PendingToolCall]):
    """One of the calls that a waiting node waits for."""


class LLMCallSchema(Received[events.LLMCall]):
    """One call of a model: wire ``llm_call``. Without usage it is unmetered."""


class ToolCallRequestSchema(Received[events.ToolCallRequest]):
    """A tool call that the model requested: wire ``tool_call`` of ``node_tool_call``."""


class ToolCallResultSchema(Received[events.ToolCallResult]):
    """The result of a tool: wire ``tool_result``."""


class WaitingSchema(Received[events.Waiting]):
    """The calls that a node waits for: wire ``waiting``."""


class UserAskOptionSchema(Received[events.UserAskOption]):
    """One option of a question."""


class UserAskSchema(Received[events.UserAsk]):
    """A question to a person: wire ``user_ask``."""


class UserAnswerSchema(Received[events.UserAnswer]):
    """A person's answer: wire ``user_answer``."""


class OutputDeltaSchema(Received[events.OutputDelta]):
    """A piece of a node's text: wire ``delta``. ``text_delta`` is absent on starts and stops."""


class PayloadInfoSchema(Received[events.PayloadInfo]):
    """Size in bytes and hash of an artifact; ``included`` is true if its content is there."""


class PayloadArtifactSchema(Received[events.PayloadArtifact]):
    """An output, kept by the service under ``artifact_key``."""


class ExcludedArtifactSchema(Received[events.ExcludedArtifact]):
    """An artifact whose content the service never includes."""


class SchedulerParticipantSchema(Received[events.SchedulerParticipant]):
    """An agent that a scheduler may start."""


class SchedulerPolicySchema(Received[events.SchedulerPolicy]):
    """The limits of a scheduler; ``timeout_ms`` in milliseconds."""


class SchedulerStartSchema(Received[events.SchedulerStart]):
    """Wire ``scheduler_started``."""


class SchedulerRoundStartSchema(Received[events.SchedulerRoundStart]):
    """Wire ``scheduler_round_started``."""


class SchedulerCoordinatorStartSchema(Received[events.SchedulerCoordinatorStart]):
    """Wire ``scheduler_coordinator_started``."""


class SchedulerCoordinatorCompletionSchema(Received[events.SchedulerCoordinatorCompletion]):
    """Wire ``scheduler_coordinator_completed``."""


class SchedulerAgentStartSchema(Received[events.SchedulerAgentStart]):
    """Wire ``scheduler_agent_started``."""


class SchedulerAgentCompletionSchema(Received[events.SchedulerAgentCompletion]):
    """Wire ``scheduler_agent_completed``."""


class SchedulerSentMessageSchema(Received[events.SchedulerSentMessage]):
    """Wire ``scheduler_message_sent``."""


class SchedulerReceivedMessageSchema(Received[events.SchedulerReceivedMessage]):
    """Wire ``scheduler_message_received``."""


class SchedulerRoundCompletionSchema(Received[events.SchedulerRoundCompletion]):
    """Wire ``scheduler_round_completed``."""


class SchedulerStopSchema(Received[events.SchedulerStop]):
    """Wire ``scheduler_stopped``."""


# ---- requests ----


class RunsFanoutSubnodeOverrideSchema(Sent[models.RunsFanoutSubnodeOverride]):
    """The model of a fan-out's subnode."""


class RunsModelOverridesSchema(Sent[models.RunsModelOverrides]):
    """Models by node id, and those of fan-out subnodes."""


class RunsCreateOptionsSchema(Sent[models.RunsCreateOptions]):
    """``options`` of ``POST /runs``."""


class RunsCreateRequestSchema(Sent[models.RunsCreateRequest]):
    """``POST /runs`` with a workflow spec."""


class RunsCreateFromPlanRequestSchema(Sent[models.RunsCreateFromPlanRequest]):
    """``POST /runs`` with the hash of a compiled plan."""


class RunsToolCallSchema(Sent[models.RunsToolCall]):
    """A tool call; ``arguments`` is JSON text."""


class RunsToolResultItemSchema(Sent[models.RunsToolResultItem]):
    """The result of a tool for one call."""


class RunsToolResultsRequestSchema(Sent[models.RunsToolResultsRequest]):
    """``POST /runs/{id}/tool-results``; node, step and request id are those of the pending calls."""


# ---- responses ----


class RunsCreateResponseSchema(Received[models.RunsCreateResponse]):
    """The run that was started, now or before with the same idempotency key."""


class RunCostLineItemSchema(Received[models.RunCostLineItem]):
    """The cost of one model of one provider, in US cents."""


class RunCostSummarySchema(Received[models.RunCostSummary]):
    """The cost of a run, in US cents."""


class RunSummarySchema(Received[models.RunSummary]):
    """Counts over a run."""


class NodeResultErrorSchema(Received[models.NodeResultError]):
    """The error of a node; ``detail`` is the provider's own, any JSON value."""


class NodeResultSchema(Received[models.NodeResult]):
    """A node's state as the service derives it."""


class RunsPendingToolCallSchema(Received[models.RunsPendingToolCall]):
    """A tool call that waits for its result."""


class RunToolResultSchema(Received[models.RunToolResult]):
    """A tool call's result."""


class RunNodeStepWaitingSchema(Received[models.RunNodeStepWaiting]):
    """The calls that a step waits for."""


class RunNodeStepLLMCallSchema(Received[models.RunNodeStepLLMCall]):
    """The model call of a step."""


class RunNodeStepUsageSchema(Received[models.RunNodeStepUsage]):
    """Tokens of a step; an absent count is 0."""


class RunNodeStepSchema(Received[models.RunNodeStep]):
    """One step of a node, from ``include=("steps",)``."""


class RunNodeStepsSchema(Received[models.RunNodeSteps]):
    """The steps of one node."""


class RunsGetResponseSchema(Received[models.RunsGetResponse]):
    """A run as the service derives it from its log."""


class RunStepDetailSchema(Received[models.RunStepDetail]):
    """One step of a node, with the model's request and response if the service keeps them."""


class RunStepsResponseSchema(Received[models.RunStepsResponse]):
    """The steps of a run's nodes."""


class RunToolCallDetailSchema(Received[models.RunToolCallDetail]):
    """One tool call of a step, with its result once there is one."""


class RunTaskSchema(Received[models.RunTask]):
    """An entry of a run's task list; ``active_form`` is its text while it is in progress."""


class RunTasksResponseSchema(Received[models.RunTasksResponse]):
    """The task list that a run's model keeps with the tool ``tasks.write``."""


class RunsPendingToolsNodeSchema(Received[models.RunsPendingToolsNode]):
    """A node that waits, and its calls."""


class RunsPendingToolsResponseSchema(Received[models.RunsPendingToolsResponse]):
    """The tool calls of a run that wait for results."""


class RunsToolResultsResponseSchema(Received[models.RunsToolResultsResponse]):
    """The number of accepted results, and the run's status after them."""


class WorkflowIssueSchema(Received[models.WorkflowIssue]):
    """A mistake in a workflow spec; ``path`` is a JSON path such as ``$.nodes[0].id``."""


class WorkflowsLintResponseSchema(Received[models.WorkflowsLintResponse]):
    """The mistakes that the service finds in a workflow spec, and its plan if it can be compiled."""


class WorkflowsCompileResponseSchema(Received[models.WorkflowsCompileResponse]):
    """A compiled plan. ``plan_hash`` starts runs of it."""


_UNKNOWN = cast(type[StructSchema[Any]], _UnknownEnvelopeSchema)
EVENT_SCHEMAS: dict[str, type[StructSchema[Any]]] = {
    schema.struct.type: schema
    for schema in Received.__subclasses__()
    if issubclass(schema.struct, events.RunEvent) and schema.struct in events.KNOWN_EVENTS
}
"""The schema of each known event type, by the wire's name of the type."""
