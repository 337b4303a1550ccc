"""Hosts a stream of the contrib."""

from dataclasses import dataclass

from temporalio import workflow
from temporalio.contrib.workflow_streams import WorkflowStream, WorkflowStreamState


@dataclass
class HostInput:
    rolls: bool = False
    stream_state: WorkflowStreamState | None = None
    quiet: bool = False


@workflow.defn(name="BenchmarkHost")
class Host:
    @workflow.init
    def __init__(self, host: HostInput) -> None:
        self.stream = WorkflowStream(host.stream_state)
        self.finished = False
        if host.stream_state is None and not host.quiet:
            # By this item a reader knows that it is attached.
            self.stream.topic("marks").publish("begin")

    @workflow.run
    async def run(self, host: HostInput) -> None:
        await workflow.wait_condition(
            lambda: self.finished or (host.rolls and workflow.info().is_continue_as_new_suggested())
        )
        if not self.finished:
            await self.stream.continue_as_new(lambda state: [HostInput(host.rolls, state)])

    @workflow.signal
    def finish(self) -> None:
        self.finished = True
