"""The real server and SDK say what `temporal/messages.py` recognizes.

If one of these fails with a new version of either, look up its new wording and what it means, and
change that module before the version is allowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.command.v1 import Command, ContinueAsNewWorkflowExecutionCommandAttributes
from temporalio.api.common.v1 import WorkflowType
from temporalio.api.enums.v1 import CommandType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    RespondWorkflowTaskCompletedRequest,
)
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.configured import ConfiguredServer
from tests.faults.conftest import ONE_ATTEMPT
from tests.faults.network import Network
from workflow_streams.embedded import EmbeddedServer
from workflow_streams.embedded.binary import find_binary
from workflow_streams.embedded.ports import HOST, free_port
from workflow_streams.embedded.process import ServerProcess
from workflow_streams.host.external import signalling
from workflow_streams.log import wire
from workflow_streams.temporal import messages, rpc
from workflow_streams.testing.fixtures import StreamServer

Unique = Callable[[str], str]

# What a run takes on the server of some of these tests, instead of 10,000 and 2,000.
MOST_SIGNALS = 3
MOST_UPDATES = 2


@workflow.defn
class Idle:
    """Answers Updates, fails a query, and waits for its end."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def nod(self) -> bool:
        return True

    @workflow.query
    def stumble(self) -> None:
        raise ValueError("at the query")


@workflow.defn
class Caller:
    """Signals another workflow until that is refused; returns how often, and if it knows why."""

    @workflow.run
    async def run(self, workflow_id: str) -> tuple[int, bool]:
        called = workflow.get_external_workflow_handle(workflow_id)
        taken = 0
        while True:
            try:
                await called.signal("anything")
            except Exception as err:
                return taken, signalling.signals_used_up(err)
            taken += 1


@pytest.fixture
async def sparing() -> AsyncIterator[Client]:
    """A client of a server that takes few signals and Updates for a run."""
    async with ConfiguredServer(
        f"history.maximumSignalsPerExecution={MOST_SIGNALS}",
        f"history.maxTotalUpdates={MOST_UPDATES}",
    ) as server:
        yield await server.connect()


@asynccontextmanager
async def idle(client: Client, name: str) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """Run an Idle workflow and its worker."""
    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue=name, workflows=[Caller, Idle], workflow_runner=runner):
        handle = await client.start_workflow(Idle.run, id=name, task_queue=name)
        yield handle
        await handle.terminate()


class TasksByHand:
    """A worker that answers workflow tasks as no SDK would."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    async def begin(self) -> WorkflowHandle[Any, Any]:
        """Start a workflow, and complete its first task."""
        handle = await self._client.start_workflow("Any", id=self._name, task_queue=self._name)
        await self.complete(await self.next())
        return handle

    async def next(self) -> PollWorkflowTaskQueueResponse:
        queue = TaskQueue(name=self._name)
        request = PollWorkflowTaskQueueRequest(
            namespace=self._client.namespace, task_queue=queue, identity="by hand"
        )
        return await self._client.workflow_service.poll_workflow_task_queue(
            request, timeout=timedelta(minutes=1)
        )

    async def complete(self, task: PollWorkflowTaskQueueResponse, *commands: Command) -> None:
        await self._client.workflow_service.respond_workflow_task_completed(
            RespondWorkflowTaskCompletedRequest(
                namespace=self._client.namespace, task_token=task.task_token, commands=commands
            )
        )

    async def continue_as_new(self, task: PollWorkflowTaskQueueResponse) -> None:
        attributes = ContinueAsNewWorkflowExecutionCommandAttributes(
            workflow_type=WorkflowType(name="Any"), task_queue=TaskQueue(name=self._name)
        )
        command = Command(
            command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
            continue_as_new_workflow_execution_command_attributes=attributes,
        )
        await self.complete(task, command)


def recognized(error: RPCError) -> set[str]:
    """Return the names of all functions that recognize a refused call."""
    known = (
        messages.signals_used_up,
        messages.updates_used_up,
        messages.task_failed,
        messages.run_ended,
        messages.message_too_large,
        messages.payload_too_large,
    )
    return {function.__name__ for function in known if function(error)}


async def test_a_run_that_has_had_its_signals(sparing: Client, unique: Unique) -> None:
    name = unique("idle")
    handle = await sparing.start_workflow("Idle", id=name, task_queue=name)
    for _ in range(MOST_SIGNALS):
        await handle.signal("anything")
    with pytest.raises(RPCError) as refused:
        await handle.signal("anything")
    assert recognized(refused.value) == {"signals_used_up"}
    assert rpc.is_transient(refused.value)


async def test_a_run_that_has_had_its_signals_as_workflow_code_is_told(
    sparing: Client, unique: Unique
) -> None:
    name = unique("idle")
    async with idle(sparing, name):
        told = await sparing.execute_workflow(
            Caller.run, name, id=unique("caller"), task_queue=name
        )
    assert told == (MOST_SIGNALS, True)


async def test_workflow_code_tells_other_refusals_from_it(client: Client, unique: Unique) -> None:
    name = unique("idle")
    async with idle(client, name):
        told = await client.execute_workflow(
            Caller.run, unique("nobody"), id=unique("caller"), task_queue=name
        )
    assert told == (0, False)


async def test_a_run_that_has_had_its_updates(sparing: Client, unique: Unique) -> None:
    async with idle(sparing, unique("idle")) as handle:
        for _ in range(MOST_UPDATES):
            assert await handle.execute_update(Idle.nod)
        with pytest.raises(RPCError) as refused:
            await handle.execute_update(Idle.nod)
    assert recognized(refused.value) == {"updates_used_up"}


async def test_an_update_whose_task_has_failed(client: Client, unique: Unique) -> None:
    worker = TasksByHand(client, unique("by-hand"))
    handle = await worker.begin()
    update = asyncio.create_task(handle.execute_update("nod"))
    task = await worker.next()
    await handle.signal("meanwhile")
    with pytest.raises(RPCError, match="UnhandledCommand"):
        await worker.continue_as_new(task)
    with pytest.raises(RPCError) as refused:
        await update
    await handle.terminate()
    assert recognized(refused.value) == {"task_failed"}
    assert not messages.task_failed(None)


async def test_an_update_that_the_worker_passes_over(client: Client, unique: Unique) -> None:
    worker = TasksByHand(client, unique("by-hand"))
    handle = await worker.begin()
    update = asyncio.create_task(handle.execute_update("nod"))
    await worker.complete(await worker.next())
    with pytest.raises(WorkflowUpdateFailedError) as rejected:
        await update
    await handle.terminate()
    assert messages.update_passed_over(rejected.value)


async def test_an_update_that_the_workflow_does_not_know_was_not_passed_over(
    client: Client, unique: Unique
) -> None:
    async with idle(client, unique("idle")) as handle:
        with pytest.raises(WorkflowUpdateFailedError) as rejected:
            await handle.execute_update("no such update")
    assert not messages.update_passed_over(rejected.value)


async def test_a_run_that_has_ended(client: Client, unique: Unique) -> None:
    name = unique("ended")
    handle = await client.start_workflow("Idle", id=name, task_queue=name)
    await handle.terminate()
    with pytest.raises(RPCError) as refused:
        await handle.signal("anything")
    assert recognized(refused.value) == {"run_ended"}


async def test_a_workflow_that_never_was(client: Client, unique: Unique) -> None:
    with pytest.raises(RPCError) as refused:
        await client.get_workflow_handle(unique("nobody")).signal("anything")
    assert refused.value.status == RPCStatusCode.NOT_FOUND
    assert recognized(refused.value) == set()


@pytest.mark.parametrize(
    ("size", "name"), [(2_500_000, "payload_too_large"), (5_000_000, "message_too_large")]
)
async def test_a_call_that_is_too_large(
    stream_server: StreamServer, unique: Unique, size: int, name: str
) -> None:
    # The SDK would send a call that is over gRPC's limit again and again.
    client = await stream_server.connect(retry_config=ONE_ATTEMPT)
    workflow_id = unique("idle")
    handle = await client.start_workflow("Idle", id=workflow_id, task_queue=workflow_id)
    with pytest.raises(RPCError) as refused:
        await handle.signal("anything", b"x" * size)
    await handle.terminate()
    assert recognized(refused.value) == {name}
    assert rpc.is_too_large(refused.value)
    assert not rpc.is_transient(refused.value)


async def test_a_query_that_the_workflow_does_not_know(client: Client, unique: Unique) -> None:
    async with idle(client, unique("idle")) as handle:
        with pytest.raises(WorkflowQueryFailedError) as failed:
            await handle.query(wire.OFFSET_QUERY)
        assert messages.query_unknown(failed.value, wire.OFFSET_QUERY)
        with pytest.raises(WorkflowQueryFailedError) as failed:
            await handle.query(Idle.stumble)
        assert not messages.query_unknown(failed.value, wire.OFFSET_QUERY)


@pytest.mark.processes
async def test_a_server_that_is_not_there() -> None:
    with pytest.raises(RuntimeError) as raised:
        await Client.connect(f"{HOST}:{free_port()}")
    failed = messages.failed_connect(raised.value)
    assert failed is not None
    assert not failed.denied
    # Users are told the reason alone, not the SDK's whole description of the failure.
    assert failed.reason == "Connection refused"


@pytest.mark.parametrize(
    ("status", "denied"),
    [
        (RPCStatusCode.PERMISSION_DENIED, True),
        (RPCStatusCode.UNAUTHENTICATED, True),
        (RPCStatusCode.INTERNAL, False),
    ],
)
async def test_a_server_that_refuses_a_connection(
    stream_server: StreamServer, status: RPCStatusCode, denied: bool
) -> None:
    async with Network(stream_server.address) as network:
        network.deny(status, "not for you")
        with pytest.raises(RuntimeError) as raised:
            await Client.connect(network.address, retry_config=ONE_ATTEMPT)
    assert messages.failed_connect(raised.value) == messages.FailedConnect("not for you", denied)


def test_other_errors_are_no_failed_connections() -> None:
    assert messages.failed_connect(RuntimeError("something else")) is None
    assert messages.failed_connect(ValueError("Failed client connect")) is None


@pytest.mark.processes
async def test_a_development_server_that_finds_its_port_taken() -> None:
    async with EmbeddedServer() as first:
        port = int(first.address.rpartition(":")[2])
        command = [find_binary(), "server", "start-dev", "--ip", HOST, "--headless"]
        second = await ServerProcess.launch([*command, "--port", str(port)])
        output = await second.wait()
        await second.end()
    assert messages.port_taken(output)
    assert not messages.port_announced(output, port)


@pytest.mark.processes
async def test_a_development_server_that_serves() -> None:
    async with EmbeddedServer() as server:
        port = int(server.address.rpartition(":")[2])
        process = server._process  # pyright: ignore[reportPrivateUsage]
        assert process is not None
        assert messages.port_announced(process.output, port)
        assert not messages.port_announced(process.output, port // 10)
        assert not messages.port_taken(process.output)
