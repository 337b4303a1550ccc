"""A workflow that asks a language model and lets everyone watch the answer being written."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.llm_activity import LLMActivities
    from llm_shared import LLMInput

    from workflow_streams import WorkflowStream


@workflow.defn
class LLMWorkflow:
    """Hosts the stream that the activity writes to, and returns the whole answer."""

    @workflow.init
    def __init__(self, question: LLMInput) -> None:
        """Open the stream. The tokens come from the activity, so no topic is needed here."""
        WorkflowStream(question.stream_state)

    @workflow.run
    async def run(self, question: LLMInput) -> str:
        """Run the completion, at most three times."""
        return await workflow.execute_activity_method(
            LLMActivities.stream_completion,
            question,
            start_to_close_timeout=timedelta(minutes=5),
            # A worker that dies is noticed by its missing heartbeats, not after five minutes.
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(maximum_attempts=3),
        )
