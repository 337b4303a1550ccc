"""The demo: it plays, checks and sums up, and leaves nothing behind."""

from __future__ import annotations

import asyncio

import psutil
import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Worker

from . import providers
from .conftest import Start
from .harness import Sample

pytestmark = pytest.mark.processes

QUEUES = ("workflow-stream-sample-task-queue", "workflow-stream-llm-task-queue")


@pytest.fixture
def demo(request: pytest.FixtureRequest) -> Sample:
    """The demo of the scenarios that the test names, on a server of its own."""
    sample = Sample("demo.py", *request.param)
    request.addfinalizer(sample.close)
    return sample


@pytest.mark.parametrize("demo", [["order"]], indirect=True)
def test_demo_plays_and_sums_up(demo: Sample) -> None:
    lines = demo.finish()
    assert "workflow result: charge-order-1" in lines
    assert lines[-2] == "━━ summary"
    assert lines[-1].startswith("order ")
    assert lines[-1].endswith(" s  ok")
    assert "\x1b" not in demo.text


@pytest.mark.parametrize("demo", [["pipeline"]], indirect=True)
def test_interrupted_demo_leaves_no_process_behind(demo: Sample) -> None:
    demo.until_line(r".*offset=0 stage=validating")
    started = psutil.Process(demo.process.pid).children(recursive=True)
    assert len(started) >= 3  # server, worker and runner
    demo.interrupt()
    demo.finish(code=130)
    assert [process for process in started if process.is_running()] == []


taken: list[str] = []


@workflow.defn(name="OrderWorkflow", sandboxed=False)
class SpoiledOrder:
    @workflow.run
    async def run(self, order: dict[str, str]) -> str:
        taken.append("order")
        return "spoiled"


@workflow.defn(name="LLMWorkflow", sandboxed=False)
class SpoiledLLM:
    @workflow.run
    async def run(self, question: dict[str, str]) -> str:
        taken.append("llm")
        return "spoiled"


async def test_demo_beside_other_workers_of_the_samples_is_its_own(
    start: Start, client: Client, suffix: str
) -> None:
    spoilers, queues = [SpoiledOrder, SpoiledLLM], [f"{queue}{suffix}" for queue in QUEUES]
    taken.clear()
    with providers.stalling() as url:
        sample, llm = (Worker(client, task_queue=queue, workflows=spoilers) for queue in queues)
        async with sample, llm:
            demo = start("demo.py", "order", "llm", OPENAI_API_KEY="any", OPENAI_BASE_URL=url)
            lines = await asyncio.to_thread(demo.finish)
    assert taken == []
    assert [(line.split()[0], line.split()[-1]) for line in lines[-2:]] == [
        ("order", "ok"),
        ("llm", "ok"),
    ]
    whole = "".join(providers.WHOLE)
    retried = lines.index("[retry attempt 2] resetting output")
    assert lines[retried + 1 : retried + 3] == [whole, f"[workflow result: {len(whole)} chars]"]
    assert "".join(providers.HALF).startswith(
        next(line for line in lines if line.startswith(providers.HALF[0]))
    )


async def test_interrupted_demo_ends_what_it_has_started_elsewhere(
    start: Start, client: Client, suffix: str
) -> None:
    demo = start("demo.py", "pipeline")
    await asyncio.to_thread(demo.until_line, r".*offset=0 stage=validating")
    [pipeline] = [
        found
        async for found in client.list_workflows("WorkflowType = 'PipelineWorkflow'")
        if found.task_queue.startswith(f"{QUEUES[0]}{suffix}-demo-")
    ]
    assert pipeline.status == WorkflowExecutionStatus.RUNNING
    demo.interrupt()
    await asyncio.to_thread(demo.finish, 130)
    ended = await client.get_workflow_handle(pipeline.id).describe()
    assert ended.status == WorkflowExecutionStatus.TERMINATED


def test_demo_with_a_scenario_that_fails_says_so_and_fails(start: Start) -> None:
    with providers.refusing() as url:
        demo = start("demo.py", "order", "llm", OPENAI_API_KEY="wrong", OPENAI_BASE_URL=url)
        lines = demo.finish(code=1)
    summary = lines[lines.index("━━ summary") + 1 :]
    assert summary[0].startswith("order ")
    assert summary[0].endswith(" s  ok")
    assert summary[1].startswith("llm ")
    assert summary[1].endswith(" s  FAILED")
    assert summary[2].strip().startswith("no text came that could be interrupted")
    assert any("Incorrect API key provided" in line for line in lines)
