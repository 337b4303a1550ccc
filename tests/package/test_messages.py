"""Errors that the contrib raises as well carry the words by which its users know them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import temporalio.contrib.workflow_streams as contrib
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

import workflow_streams as ours

both = pytest.mark.parametrize("library", [contrib, ours], ids=["contrib", "ours"])


@both
def test_a_topic_of_payloads(client: Client, library: ModuleType) -> None:
    stream = library.WorkflowStreamClient.create(client, "some workflow")
    with pytest.raises(RuntimeError, match="type=Payload"):
        stream.topic("payloads", type=Payload)


@both
async def test_a_subscription_to_payloads(client: Client, library: ModuleType) -> None:
    stream = library.WorkflowStreamClient.create(client, "some workflow")
    with pytest.raises(RuntimeError, match="result_type=Payload"):
        async for _ in stream.subscribe(result_type=Payload):
            pass


@both
def test_a_topic_of_two_types(client: Client, library: ModuleType) -> None:
    stream = library.WorkflowStreamClient.create(client, "some workflow")
    stream.topic("topic", type=str)
    with pytest.raises(RuntimeError, match="already bound to type"):
        stream.topic("topic", type=int)


@both
async def test_an_activity_without_a_workflow(library: ModuleType) -> None:
    @activity.defn
    async def publish() -> None:
        library.WorkflowStreamClient.from_within_activity()

    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, workflow_id=None)
    with pytest.raises(RuntimeError, match="no parent workflow"):
        await environment.run(publish)


class Misuse:
    """Constructs streams where they are not to be; tells what it is told."""

    library: ModuleType

    def __init__(self) -> None:
        self.stream = self.library.WorkflowStream()
        self.told: list[str] = []
        try:
            self.library.WorkflowStream()
        except RuntimeError as err:
            self.told.append(str(err))
        try:
            self.stream.topic("payloads", type=Payload)
        except RuntimeError as err:
            self.told.append(str(err))

    async def run(self) -> list[str]:
        # In `@workflow.run` the contrib looks at the name of the function that constructs it.
        try:
            self.library.WorkflowStream()
        except RuntimeError as err:
            self.told.append(str(err))
        return self.told


@workflow.defn(name="Misuse", sandboxed=False)
class ContribMisuse(Misuse):
    library = contrib

    @workflow.init
    def __init__(self) -> None:
        super().__init__()

    @workflow.run
    async def run(self) -> list[str]:
        return await super().run()


@workflow.defn(name="Misuse", sandboxed=False)
class OurMisuse(Misuse):
    library = ours

    @workflow.init
    def __init__(self) -> None:
        super().__init__()

    @workflow.run
    async def run(self) -> list[str]:
        return await super().run()


@pytest.mark.parametrize("host", [ContribMisuse, OurMisuse])
async def test_streams_in_workflows(
    client: Client, unique: Callable[[str], str], host: Any
) -> None:
    name = unique("misuse")
    async with Worker(client, task_queue=name, workflows=[host]):
        told = await client.execute_workflow(host.run, id=name, task_queue=name)
    phrases = ["already registered", "type=Payload", "must be constructed directly from the"]
    assert len(told) == len(phrases)
    for sentence, phrase in zip(told, phrases, strict=True):
        assert phrase in sentence
    assert "must be constructed directly from the workflow's" in told[-1]
