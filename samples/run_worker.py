"""The worker of the order, pipeline, hub and ticker scenarios.

Nothing here is about streams: a workflow that hosts one needs a plain Temporal worker.
`connect()` reads Temporal's own environment configuration (`TEMPORAL_ADDRESS` and friends) and
brings the plugin that lets workflow code import `workflow_streams`.

Run: `uv run samples/run_worker.py`, then any of the runners beside it.
"""

from __future__ import annotations

from activities.payment_activity import charge_card
from lifecycle import run, serve
from shared import TASK_QUEUE
from temporalio.worker import Worker
from workflows.hub_workflow import HubWorkflow
from workflows.order_workflow import OrderWorkflow
from workflows.pipeline_workflow import PipelineWorkflow
from workflows.ticker_workflow import TickerWorkflow

from workflow_streams import connect


async def main() -> int:
    """Serve the four workflows and the one activity until Ctrl-C."""
    worker = Worker(
        await connect(),
        task_queue=TASK_QUEUE,
        workflows=[OrderWorkflow, PipelineWorkflow, HubWorkflow, TickerWorkflow],
        activities=[charge_card],
    )
    return await serve(worker, f"worker ready on {TASK_QUEUE}")


if __name__ == "__main__":
    run(main)
