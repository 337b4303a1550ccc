"""The server refuses, or a proxy before it: each status gets its error, and nothing is lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from workflow_streams import End, Item, WorkflowStreamClient, connect, errors
from workflow_streams.temporal import rpc

from .conftest import FEW_ATTEMPTS
from .hosts import Host, hosting
from .network import Network
from .reading import reading

DENIALS = [RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED]
BY_STATUS = dict.fromkeys(rpc.FINAL, errors.RequestRejectedError) | {
    RPCStatusCode.NOT_FOUND: errors.StreamNotFoundError,
    RPCStatusCode.PERMISSION_DENIED: errors.PermissionDeniedError,
    RPCStatusCode.UNAUTHENTICATED: errors.PermissionDeniedError,
}


async def far_client(network: Network) -> Client:
    return await Client.connect(network.address, retry_config=FEW_ATTEMPTS)


def test_every_status_is_either_transient_or_final() -> None:
    assert set(RPCStatusCode) == rpc.TRANSIENT | rpc.FINAL
    assert not rpc.TRANSIENT & rpc.FINAL


@pytest.mark.parametrize("status", RPCStatusCode)
def test_every_status_has_its_error(status: RPCStatusCode) -> None:
    error = RPCError("why", status, b"")
    if status in rpc.FINAL:
        expected: type[Exception] = BY_STATUS[status]
    elif status == RPCStatusCode.RESOURCE_EXHAUSTED:
        expected = errors.RequestRejectedError
    else:
        expected = errors.ServerUnavailableError
    translated = rpc.translate(error, "some-workflow")
    assert type(translated) is expected
    assert "why" in str(translated)
    assert rpc.is_transient(error) == (status in rpc.TRANSIENT)
    assert rpc.explain(error, "some-workflow").__cause__ is error


def test_the_same_status_may_be_transient_or_final_by_its_words() -> None:
    limit = "exceeded workflow execution limit for signal events"
    assert rpc.is_transient(RPCError(limit, RPCStatusCode.INVALID_ARGUMENT, b""))
    too_large = "grpc: received message larger than max (5000000 vs. 4194304)"
    assert not rpc.is_transient(RPCError(too_large, RPCStatusCode.RESOURCE_EXHAUSTED, b""))


def test_other_errors_are_nobody_s_to_translate() -> None:
    error = RuntimeError("something else")
    assert not rpc.is_transient(error)
    assert rpc.explain(error, "some-workflow") is error


async def test_every_final_status_fails_the_publish_and_every_transient_one_delays_it(
    client: Client, unique: Any, network: Network
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(
            await far_client(network), workflow_id, batch_interval=timedelta(0)
        )
        topic = stream.topic("t")
        async with stream:
            await topic.send("first")
            for status in sorted(rpc.FINAL - {RPCStatusCode.OK}):
                network.deny(status, f"refused as {status.name}")
                topic.publish("lost")
                with pytest.raises(errors.PublishError) as raised:
                    await stream.flush()
                assert raised.value.undelivered == 1
                assert type(raised.value.__cause__) is BY_STATUS[status]
                assert status.name in str(raised.value)
                network.restore()
                topic.publish(f"after {status.name}")
                await stream.flush()
            for status in sorted(rpc.TRANSIENT):
                network.deny(status)
                network.denied = 0
                topic.publish(f"through {status.name}")
                await network.until(lambda: network.denied >= 2)
                network.restore()
                await stream.flush()
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        near = WorkflowStreamClient.create(client, workflow_id)
        assert [item.data async for item in near.subscribe()] == [
            "first",
            *(f"after {status.name}" for status in sorted(rpc.FINAL - {RPCStatusCode.OK})),
            *(f"through {status.name}" for status in sorted(rpc.TRANSIENT)),
        ]


@pytest.mark.parametrize("status", DENIALS)
async def test_no_permission_at_the_start(
    client: Client, unique: Any, network: Network, status: RPCStatusCode
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(await far_client(network), workflow_id)
        network.deny(status, "not for you")
        with pytest.raises(errors.PermissionDeniedError, match="not for you") as raised:
            await anext(aiter(stream.subscribe()))
        assert workflow_id in str(raised.value)
        with pytest.raises(errors.PermissionDeniedError):
            await stream.get_offset()
        with pytest.raises(errors.PermissionDeniedError):
            await stream.topic("t").send("lost")
        with pytest.raises(errors.PublishError) as undelivered:
            async with stream:
                stream.topic("t").publish("lost")
                stream.topic("t").publish("lost, too")
        assert (undelivered.value.undelivered, undelivered.value.uncertain) == (2, 0)
        assert isinstance(undelivered.value.__cause__, errors.PermissionDeniedError)
        with pytest.raises(errors.PermissionDeniedError, match="not for you"):
            await connect(target_host=network.address)
        lazy = await connect(target_host=network.address, lazy=True, api_key=None, tls=False)
        with pytest.raises(errors.PermissionDeniedError, match="not for you"):
            await anext(aiter(WorkflowStreamClient.create(lazy, workflow_id).subscribe()))
        network.restore()
        assert await stream.topic("t").send("granted") == 0


async def test_permission_taken_away_and_given_back_in_mid_stream(
    client: Client, unique: Any, network: Network
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        near = WorkflowStreamClient.create(client, workflow_id)
        far = WorkflowStreamClient.create(await far_client(network), workflow_id)
        events = aiter(far.follow())
        for value in ("a", "b"):
            await near.topic("t").send(value)
        seen = [await anext(events), await anext(events)]
        waiting = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        network.deny(RPCStatusCode.PERMISSION_DENIED)
        with pytest.raises(errors.PermissionDeniedError):
            await waiting
        await near.topic("t").send("c")
        network.restore()
        seen.append(await anext(events))
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        seen += [event async for event in events]
        assert [(e.offset, e.data) for e in seen if isinstance(e, Item)] == [
            (0, "a"),
            (1, "b"),
            (2, "c"),
        ]
        assert isinstance(seen[-1], End)
        assert len(seen) == 4


async def test_reader_without_permission_leaves_the_others_alone(
    client: Client, unique: Any, network: Network
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        near = WorkflowStreamClient.create(client, workflow_id)
        far = WorkflowStreamClient.create(await far_client(network), workflow_id)
        async with reading(near) as reader:
            async with near:
                for value in range(5):
                    near.topic("t").publish(value)
                    network.deny(RPCStatusCode.PERMISSION_DENIED)
                    with pytest.raises(errors.PermissionDeniedError):
                        await anext(aiter(far.subscribe()))
            await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert reader.items == [(value, value) for value in range(5)]
