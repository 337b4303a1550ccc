"""A pipeline of slow stages, each announced on the stream as it begins."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from shared import PipelineInput, StageEvent

    from workflow_streams import WorkflowStream

STAGES = ["validating", "loading data", "transforming", "writing output", "verifying"]
SECONDS_PER_STAGE = 2


@workflow.defn
class PipelineWorkflow:
    """Goes through its stages, two seconds each."""

    @workflow.init
    def __init__(self, pipeline: PipelineInput) -> None:
        """Open the stream."""
        stream = WorkflowStream(pipeline.stream_state)
        self.status = stream.topic("status", type=StageEvent)

    @workflow.run
    async def run(self, pipeline: PipelineInput) -> str:
        """Announce and "do" every stage."""
        for stage in STAGES:
            self.status.publish(StageEvent(stage))
            await workflow.sleep(SECONDS_PER_STAGE)
        self.status.publish(StageEvent("complete"))
        return f"pipeline {pipeline.pipeline_id} done"
