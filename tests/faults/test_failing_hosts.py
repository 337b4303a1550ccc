"""A workflow whose task fails again and again shows, though the server takes all that is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from tests.gateway.security.wire import serving
from workflow_streams import WorkflowStream, WorkflowStreamClient
from workflow_streams.cli.actions.inspection import members, text_of
from workflow_streams.cli.actions.report import examine
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.publish import failing_host

from .hosts import TASK_TIMEOUT

broken: set[str] = set()


def plain(text: str, *_styles: str) -> str:
    return text


@workflow.defn(sandboxed=False)
class Breaks:
    """Its tasks fail as long as its id is among the broken."""

    @workflow.init
    def __init__(self) -> None:
        self.stream = WorkflowStream()
        self.touched = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.touched)
        if workflow.info().workflow_id in broken:
            raise RuntimeError("a fault in the workflow's code")

    @workflow.signal
    def touch(self) -> None:
        self.touched = True


@asynccontextmanager
async def failing(
    client: Client, name: str, *, opened: bool = True
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """Run a workflow whose task fails, the first one or another, until it is not broken any more.

    It ends when it can.
    """
    broken.add(name)
    try:
        async with Worker(client, task_queue=name, workflows=[Breaks]):
            handle = await client.start_workflow(
                Breaks.run,
                id=name,
                task_queue=name,
                task_timeout=TASK_TIMEOUT,
                # With the signal from the start, its first task cannot succeed before it.
                start_signal=None if opened else "touch",
            )
            if opened:
                assert await WorkflowStreamClient.create(client, name).get_offset() == 0
                await handle.signal(Breaks.touch)
            await until_failing(handle)
            yield handle
            broken.discard(name)
            await handle.result()
    finally:
        broken.discard(name)


async def still(sending: asyncio.Task[int]) -> None:
    """Let some time pass, in which this does not end."""
    await asyncio.wait({sending}, timeout=0.02)
    assert not sending.done(), sending.result()


async def until_failing(handle: WorkflowHandle[Any, Any]) -> None:
    while not failing_host.failing_attempt(await handle.describe()):
        await asyncio.sleep(0.02)


def told(caplog: pytest.LogCaptureFixture, name: str) -> int:
    """Return how often the log has told of it."""
    messages = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    return sum(f"Workflow {name!r}: its workflow task has failed" in text for text in messages)


async def test_a_publisher_that_looks_at_the_run_tells_of_it_once(
    client: Client, unique: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = unique("failing")
    async with failing(client, name) as handle:
        while not told(caplog, name):
            await until_failing(handle)
            async with WorkflowStreamClient.create(client, name) as stream:
                stream.topic("t", type=str).publish("x" * 400_000)
        for _ in range(8):
            async with WorkflowStreamClient.create(client, name) as stream:
                stream.topic("t", type=str).publish("x" * 400_000)
        assert told(caplog, name) == 1


async def test_a_send_that_waits_tells_what_it_waits_for(
    client: Client, unique: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failing_host, "_PATIENCE_SECONDS", 0.05)
    name = unique("failing")
    async with failing(client, name, opened=False):
        stream = WorkflowStreamClient.create(client, name)
        sending = asyncio.create_task(stream.topic("t", type=str).send("x"))
        while not told(caplog, name):
            await still(sending)
        sending.cancel()
        await asyncio.wait({sending})
        assert told(caplog, name) == 1


async def test_many_sends_that_wait_for_one_workflow_look_and_tell_as_one(
    client: Client, unique: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failing_host, "_PATIENCE_SECONDS", 0.05)
    watches: list[str] = []
    watch = failing_host._watch

    async def counted(handle: Any) -> None:
        watches.append(handle.id)
        await watch(handle)

    monkeypatch.setattr(failing_host, "_watch", counted)
    name = unique("failing")
    async with failing(client, name, opened=False):
        topic = WorkflowStreamClient.create(client, name).topic("t", type=str)
        first = asyncio.create_task(topic.send("first"))
        while not told(caplog, name):
            await still(first)
        others = [asyncio.create_task(topic.send(f"{number}")) for number in range(20)]
        await asyncio.sleep(0.5)  # ten times as long as any of them waits before it looks
        assert (watches, told(caplog, name)) == ([name], 1)
        # Who comes when all of them have gone looks again.
        for sending in (first, *others):
            sending.cancel()
        await asyncio.wait({first, *others})
        last = asyncio.create_task(topic.send("last"))
        while told(caplog, name) < 2:
            await still(last)
        assert watches == [name, name]
        last.cancel()
        await asyncio.wait({last})


async def test_who_need_not_wait_is_not_told(
    client: Client, unique: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = unique("sound")
    async with Worker(client, task_queue=name, workflows=[Breaks]):
        handle = await client.start_workflow(Breaks.run, id=name, task_queue=name)
        await WorkflowStreamClient.create(client, name).topic("t", type=str).send("x" * 10_000)
        report = await examine(client, name, None)
        assert "task_attempt" not in members(report)
        assert "  task " not in text_of(report, plain)
        await handle.terminate()
        assert failing_host.failing_attempt(await handle.describe()) == 0
    assert told(caplog, name) == 0


async def test_answers_metrics_and_inspect_tell_of_it(client: Client, unique: Any) -> None:
    name = unique("failing")
    app = create_app(client, GatewaySettings(host_task_queue=unique("queue"), host_worker=False))
    count = app.state.metrics.registry.get_sample_value
    async with (
        serving(app, lifespan="on") as port,
        httpx.AsyncClient(timeout=100) as http,
        failing(client, name) as handle,
    ):
        url = f"http://127.0.0.1:{port}/v1/stream/{name}"
        while "stream-task-attempt" not in (sent := await http.post(url, json=["x"])).headers:
            await until_failing(handle)
        assert sent.status_code == 204
        assert int(sent.headers["stream-task-attempt"]) >= 2
        assert count("workflow_streams_failing_host_appends_total") == 1
        while "stream-task-attempt" not in (await http.head(url)).headers:
            await until_failing(handle)
        report = await examine(client, name, None)
        while "task_attempt" not in members(report):
            await until_failing(handle)
            report = await examine(client, name, None)
        assert "failed or timed out; at attempt" in text_of(report, plain)
        # Once it is mended, it is over.
        broken.discard(name)
        assert await handle.result() is None
        assert "stream-task-attempt" not in (await http.head(url)).headers
