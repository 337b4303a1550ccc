"""What the order, pipeline, hub and ticker processes agree on: task queue and message shapes.

With `SAMPLES_QUEUE_SUFFIX` the task queues have other names: the demo has queues of its own by it,
so that no other worker takes part in what it shows.

Workflow inputs carry `stream_state`, so that a workflow that rolls over can hand its stream to
the next run.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass

from workflow_streams import WorkflowStreamState

TASK_QUEUE = "workflow-stream-sample-task-queue" + os.environ.get("SAMPLES_QUEUE_SUFFIX", "")


def new_workflow_id(kind: str) -> str:
    """Return a workflow id that nobody else uses, such as `workflow-stream-order-1f0c9a3e`."""
    return f"workflow-stream-{kind}-{uuid.uuid4().hex[:8]}"


@dataclass
class OrderInput:
    """Starts an order."""

    order_id: str
    stream_state: WorkflowStreamState | None = None


@dataclass
class StatusEvent:
    """An order has reached a new state."""

    kind: str
    order_id: str


@dataclass
class ProgressEvent:
    """A sentence for whoever is waiting for the order."""

    message: str


@dataclass
class PipelineInput:
    """Starts a pipeline."""

    pipeline_id: str
    stream_state: WorkflowStreamState | None = None


@dataclass
class StageEvent:
    """A pipeline has entered a stage."""

    stage: str


@dataclass
class HubInput:
    """Starts a hub, or its next run."""

    hub_id: str
    stream_state: WorkflowStreamState | None = None
    closed: bool = False


@dataclass
class NewsEvent:
    """One piece of news."""

    headline: str


@dataclass
class TickerInput:
    """Starts a ticker of `count` ticks.

    After every `truncate_every` ticks all but the last `keep_last` are dropped.
    """

    count: int = 20
    keep_last: int = 3
    truncate_every: int = 5
    interval_ms: int = 400
    stream_state: WorkflowStreamState | None = None


@dataclass
class TickEvent:
    """One tick, counted from 0."""

    n: int
