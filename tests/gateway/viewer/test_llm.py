"""A real model's answer in the page: its worker is killed, and half an answer is taken back."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator

import pytest
from llm_shared import TASK_QUEUE, LLMInput
from temporalio.client import Client

from workflow_streams import Item, Rewind, WorkflowStreamClient
from workflow_streams.testing.fixtures import StreamServer

from ...samples.harness import Sample
from .hosts import Hosts
from .looking import Looker, eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

PROMPT = "Write a short story about a lighthouse."
# The first attempt is killed long before it has said all this.
FIRST, SECOND = (
    {"LOCAL_MODEL_SEED": "1", "LOCAL_MODEL_MAX_TOKENS": "600"},
    {"LOCAL_MODEL_SEED": "2", "LOCAL_MODEL_MAX_TOKENS": "40"},
)
CHARACTERS_BEFORE_KILL = 60

# Of the tests' own: another worker beside would take over where one is killed.
QUEUE_SUFFIX = f"-viewer-{uuid.uuid4().hex[:8]}"

StartWorker = Callable[..., Sample]


@pytest.fixture
def start_worker(stream_server: StreamServer) -> Iterator[StartWorker]:
    """Start the sample's worker, and wait until it takes tasks."""
    workers: list[Sample] = []

    def start(**environment: str) -> Sample:
        own = {"TEMPORAL_ADDRESS": stream_server.address, "SAMPLES_QUEUE_SUFFIX": QUEUE_SUFFIX}
        workers.append(Sample("run_llm_worker.py", **own, **environment))
        workers[-1].until_line(f"worker ready on {TASK_QUEUE}{QUEUE_SUFFIX} .*")
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


async def taken_back_in(client: Client, name: str) -> list[str]:
    """Return what the stream's only rewind takes back; it is all that stands before it."""
    items: list[Item] = []
    events = [event async for event in WorkflowStreamClient.create(client, name).follow()]
    [at] = [i for i, event in enumerate(events) if isinstance(event, Rewind)]
    for event in events[:at]:
        assert isinstance(event, Item)
        items.append(event)
    rewind = events[at]
    assert isinstance(rewind, Rewind)
    assert rewind.ranges == (range(len(items)),)
    return [item.data["text"] for item in items]


async def test_a_killed_workers_half_answer_is_taken_back_and_the_second_one_stands_alone(
    looker: Looker, hosts: Hosts, start_worker: StartWorker, unique: Callable[[str], str]
) -> None:
    name = unique("lighthouse")
    first = await asyncio.to_thread(start_worker, **FIRST)
    client: Client = hosts.client
    handle = await client.start_workflow(
        "LLMWorkflow",
        LLMInput(PROMPT),
        id=name,
        task_queue=TASK_QUEUE + QUEUE_SUFFIX,
        result_type=str,
    )
    await looker.open(name, view="text")
    text, markers = looker.at("#text .text-part"), looker.at("#text .text-marker")

    async def half_is_there() -> bool:
        shown = await text.all_text_contents()
        return len("".join(shown)) >= CHARACTERS_BEFORE_KILL

    await eventually(half_is_there)
    [half] = await text.all_text_contents()
    await asyncio.to_thread(first.kill)
    await asyncio.to_thread(start_worker, **SECOND)
    answer = await handle.result()
    await looker.ended()
    taken_back = await taken_back_in(client, name)
    assert "".join(taken_back).startswith(half)
    told = [
        f"Attempt 2 took over: {len(taken_back)} items taken back",
        "The stream has ended: completed",
    ]
    assert await markers.all_text_contents() == told
    assert await text.all_text_contents() == [answer]
    # One who comes later sees the same.
    await looker.page.reload()
    await looker.ended()
    assert await markers.all_text_contents() == told
    assert await text.all_text_contents() == [answer]
