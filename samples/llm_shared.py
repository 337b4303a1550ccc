"""What the LLM worker and the LLM runner agree on: the task queue and the message shapes."""

from __future__ import annotations

import os
from dataclasses import dataclass

from workflow_streams import WorkflowStreamState

TASK_QUEUE = "workflow-stream-llm-task-queue" + os.environ.get("SAMPLES_QUEUE_SUFFIX", "")


@dataclass
class LLMInput:
    """What to ask, and whom."""

    prompt: str
    model: str = "gpt-5-mini"
    stream_state: WorkflowStreamState | None = None


@dataclass
class TextDelta:
    """The next piece of the answer, on topic `delta`."""

    text: str


@dataclass
class TextComplete:
    """The whole answer, on topic `complete`."""

    full_text: str


@dataclass
class RetryEvent:
    """An attempt other than the first has begun, on topic `retry`."""

    attempt: int
