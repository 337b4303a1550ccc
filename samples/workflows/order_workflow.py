"""An order: workflow and activity publish to two typed topics of one stream.

There is no sleep and no last "done" item before `return`. The end of the workflow is the end of
the stream, and readers are told so.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.payment_activity import charge_card
    from shared import OrderInput, ProgressEvent, StatusEvent

    from workflow_streams import WorkflowStream


@workflow.defn
class OrderWorkflow:
    """Takes an order from received to complete."""

    @workflow.init
    def __init__(self, order: OrderInput) -> None:
        """Open the stream; `@workflow.init` is the one place for it."""
        stream = WorkflowStream(order.stream_state)
        self.status = stream.topic("status", type=StatusEvent)
        self.progress = stream.topic("progress", type=ProgressEvent)

    @workflow.run
    async def run(self, order: OrderInput) -> str:
        """Charge the card and return the charge id."""
        self.status.publish(StatusEvent("received", order.order_id))
        charge_id = await workflow.execute_activity(
            charge_card, order.order_id, start_to_close_timeout=timedelta(seconds=30)
        )
        self.status.publish(StatusEvent("shipped", order.order_id))
        self.progress.publish(ProgressEvent(f"charge id: {charge_id}"))
        self.status.publish(StatusEvent("complete", order.order_id))
        return charge_id
