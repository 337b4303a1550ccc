"""LLM: an answer that is written live, and taken back when the attempt that wrote it dies.

Shows the stream's rewind. Kill the worker in mid-stream (`kill -9`) and start it again: Temporal
retries the activity, the stream tells every reader which items no longer count, and this runner
takes that text off the terminal before the new attempt writes its own.

Run: `uv run samples/run_llm_worker.py`, and beside it `uv run samples/run_llm.py [PROMPT]`.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys

import local_model
from lifecycle import report_failure, run
from llm_shared import TASK_QUEUE, LLMInput, RetryEvent, TextComplete, TextDelta
from screen import Screen
from shared import new_workflow_id
from workflows.llm_workflow import LLMWorkflow

from workflow_streams import End, Item, Rewind, WorkflowStreamClient, connect

PROMPT = "Write a 500-word comparison of Paxos, Raft and Viewstamped Replication."


async def main(question: LLMInput) -> int:
    """Ask, and show the answer as it comes."""
    client = await connect()
    handle = await client.start_workflow(
        LLMWorkflow.run, question, id=new_workflow_id("llm"), task_queue=TASK_QUEUE
    )
    screen = Screen(sys.stdout)
    screen.line(
        f"[llm {handle.id}] streaming response from {question.model}, awaiting first token..."
    )
    stream = WorkflowStreamClient.create(client, handle.id)
    stream.topic("delta", type=TextDelta)
    stream.topic("complete", type=TextComplete)
    stream.topic("retry", type=RetryEvent)
    async for event in stream.follow():
        match event:
            case Item(data=TextDelta(text)):
                screen.write(text)
            case Rewind():
                screen.take_back()
            case Item(data=RetryEvent(attempt)):
                screen.line(f"[retry attempt {attempt}] resetting output")
            case End(outcome="completed"):
                screen.line(f"[workflow result: {len(await handle.result())} chars]")
            case End():
                screen.line("")
                return report_failure(event)
    return 0


if __name__ == "__main__":
    default = LLMInput.model if os.environ.get("OPENAI_API_KEY") else local_model.MODEL
    parser = argparse.ArgumentParser(description="Stream an answer through a workflow.")
    parser.add_argument("prompt", nargs="?", default=PROMPT)
    parser.add_argument("--model", default=default, help="default: %(default)s")
    arguments = parser.parse_args()
    run(functools.partial(main, LLMInput(arguments.prompt, arguments.model)))
