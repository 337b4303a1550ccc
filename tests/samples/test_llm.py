"""LLM: a real model, a really killed worker, and a terminal that shows one answer only."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pyte
import pytest
from temporalio.client import Client

from . import providers
from .conftest import Start
from .harness import Sample

COLUMNS, ROWS = 60, 50
PROMPT = "Write a short story about a lighthouse."
MODEL = "smollm2-135m"


def start_worker(start: Start, **environment: str) -> Sample:
    worker = start("run_llm_worker.py", **environment)
    worker.until_line(r"worker ready on workflow-stream-llm-task-queue\S* .*")
    return worker


def screen_of(output: bytes) -> list[str]:
    """Return what a terminal shows after `output`, line by line, scrolled-off lines too."""
    screen = pyte.HistoryScreen(COLUMNS, ROWS, history=1000)
    pyte.ByteStream(screen).feed(output)
    gone = ["".join(line[x].data for x in range(COLUMNS)) for line in screen.history.top]
    return [line.rstrip() for line in [*gone, *screen.display]]


def result_of(address: str, workflow_id: str) -> str:
    async def result() -> str:
        client = await Client.connect(address)
        return str(await client.get_workflow_handle(workflow_id).result())

    return asyncio.run(result())


def header(workflow_id: str) -> str:
    return f"[llm {workflow_id}] streaming response from {MODEL}, awaiting first token..."


def workflow_id_of(runner: Sample) -> str:
    found = re.match(r"\[llm (workflow-stream-llm-[0-9a-f]{8})\] ", runner.text)
    assert found is not None
    return found[1]


def test_answer_is_streamed_whole(start: Start, stream_server: Any) -> None:
    start_worker(start, LOCAL_MODEL_MAX_TOKENS="60")
    runner = start("run_llm.py", PROMPT)
    lines = runner.finish()

    workflow_id = workflow_id_of(runner)
    answer = result_of(stream_server.address, workflow_id)
    assert lines == [
        header(workflow_id),
        *answer.splitlines(),
        f"[workflow result: {len(answer)} chars]",
    ]


@pytest.mark.parametrize("terminal", [(COLUMNS, ROWS), None], ids=["terminal", "pipe"])
def test_killed_worker_leaves_no_text_on_the_screen(
    start: Start, stream_server: Any, terminal: tuple[int, int] | None
) -> None:
    first = start_worker(start, LOCAL_MODEL_MAX_TOKENS="300", LOCAL_MODEL_SEED="1")
    runner = start("run_llm.py", PROMPT, terminal=terminal)
    runner.until(lambda text: len(text.partition("token...\n")[2]) > 200)
    first.kill()
    start_worker(start, LOCAL_MODEL_MAX_TOKENS="120", LOCAL_MODEL_SEED="2")
    runner.finish()

    workflow_id = workflow_id_of(runner)
    answer = result_of(stream_server.address, workflow_id)
    final = [
        "[retry attempt 2] resetting output",
        *answer.splitlines(),
        f"[workflow result: {len(answer)} chars]",
        "",
    ]
    if terminal is not None:
        expected = "\r\n".join([header(workflow_id), *final])
        assert screen_of(runner.output) == screen_of(expected.encode())
    else:
        # What stands in a file cannot be taken back; the answer follows on lines of its own.
        assert "\x1b" not in runner.text
        before, after = runner.text.split(final[0])
        assert len(before) > len(header(workflow_id)) + 200
        assert before.endswith("\n")
        assert after.splitlines() == ["", *final[1:-1]]


def test_failed_workflow_shows_its_failure(start: Start) -> None:
    with providers.refusing() as url:
        provider = {"OPENAI_API_KEY": "wrong", "OPENAI_BASE_URL": url}
        worker = start_worker(start, **provider)
        assert f"({url}/)" in worker.text
        runner = start("run_llm.py", PROMPT, "--model", "some-model", **provider)
        lines = runner.finish(code=1)

    assert "streaming response from some-model" in lines[0]
    assert lines[-1].startswith("workflow failed: ")
    assert "Incorrect API key provided" in lines[-1]
