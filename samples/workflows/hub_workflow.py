"""A hub: a workflow that does nothing but host a stream for others.

A stream that may live for years must not grow one history for ever. The stream knows when its
run has become long enough (`rollover_due`), and `continue_as_new` hands it to a fresh run:
readers and publishers go on at the same offsets and notice nothing.
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from shared import HubInput

    from workflow_streams import WorkflowStream


@workflow.defn
class HubWorkflow:
    """Hosts a stream until it is told to close."""

    @workflow.init
    def __init__(self, hub: HubInput) -> None:
        """Open the stream, or take it over from the run before."""
        self.stream = WorkflowStream(hub.stream_state)
        self.closed = hub.closed

    @workflow.run
    async def run(self, hub: HubInput) -> str:
        """Wait for `close`; roll over whenever the stream asks for it."""
        await workflow.wait_condition(lambda: self.closed or self.stream.rollover_due)
        if not self.closed:
            # Handlers may run while it rolls over, so what they set goes along.
            await self.stream.continue_as_new(
                lambda state: [HubInput(hub.hub_id, state, self.closed)]
            )
        return f"hub {hub.hub_id} closed"

    @workflow.signal
    def close(self) -> None:
        """End the hub, and with it the stream."""
        self.closed = True
