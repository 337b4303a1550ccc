"""The worker of the LLM scenario; kill it in mid-stream and start it again.

With `OPENAI_API_KEY` (and `OPENAI_BASE_URL`, for other providers) it asks that provider; without,
it runs a small model on this machine.

Run: `uv run samples/run_llm_worker.py`, and beside it `uv run samples/run_llm.py`.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from datetime import timedelta

from activities.llm_activity import LLMActivities
from lifecycle import run, serve
from llm_shared import TASK_QUEUE
from local_model import MODEL, local_model
from openai import AsyncOpenAI
from temporalio.worker import Worker
from workflows.llm_workflow import LLMWorkflow

from workflow_streams import connect


def provider(stack: ExitStack) -> tuple[AsyncOpenAI, str]:
    """Return the client of the provider to ask, and the provider's name.

    `max_retries=0`: retries are Temporal's business, where readers get to know of them.
    """
    if os.environ.get("OPENAI_API_KEY"):
        openai = AsyncOpenAI(max_retries=0)
        return openai, str(openai.base_url)
    base_url = stack.enter_context(local_model())
    return AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0), f"local model {MODEL}"


async def main() -> int:
    """Serve the workflow and the activity until Ctrl-C."""
    with ExitStack() as stack:
        try:
            openai, name = provider(stack)
        except ModuleNotFoundError as error:
            print(f"set OPENAI_API_KEY, or install the local model: {error}", file=sys.stderr)
            return 1
        async with openai:
            worker = Worker(
                await connect(),
                task_queue=TASK_QUEUE,
                workflows=[LLMWorkflow],
                activities=[LLMActivities(openai).stream_completion],
                # How long the server waits for a dead worker to go on with "its" workflows
                # before it gives them to another: 10 s by default, long for one who watches.
                sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
            )
            return await serve(worker, f"worker ready on {TASK_QUEUE} ({name})")


if __name__ == "__main__":
    run(main)
