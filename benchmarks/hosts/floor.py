"""Takes the same signals and does nothing with them: what the server alone costs."""

from dataclasses import dataclass

from temporalio import workflow
from temporalio.common import RawValue


@dataclass
class HostInput:
    rolls: bool = False


@workflow.defn(name="BenchmarkHost")
class Host:
    def __init__(self) -> None:
        self.finished = False

    @workflow.run
    async def run(self, host: HostInput) -> None:
        await workflow.wait_condition(
            lambda: self.finished or (host.rolls and workflow.info().is_continue_as_new_suggested())
        )
        if not self.finished:
            workflow.continue_as_new(host)

    @workflow.signal
    def publish(self, batch: RawValue) -> None:
        pass

    @workflow.signal
    def finish(self) -> None:
        self.finished = True
