"""A ticker whose stream is a ring buffer: old ticks are dropped as new ones come."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from shared import TickerInput, TickEvent

    from workflow_streams import WorkflowStream


@workflow.defn
class TickerWorkflow:
    """Ticks a given number of times."""

    @workflow.init
    def __init__(self, ticker: TickerInput) -> None:
        """Open the stream."""
        self.stream = WorkflowStream(ticker.stream_state)
        self.tick = self.stream.topic("tick", type=TickEvent)

    @workflow.run
    async def run(self, ticker: TickerInput) -> str:
        """Tick, and truncate the stream every now and then."""
        for n in range(ticker.count):
            self.tick.publish(TickEvent(n))
            if (n + 1) % ticker.truncate_every == 0:
                self.stream.truncate(self.stream.head - ticker.keep_last)
            await workflow.sleep(timedelta(milliseconds=ticker.interval_ms))
        return f"ticker emitted {ticker.count} events"
