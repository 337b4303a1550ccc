"""A stream with a time to live stays as long as somebody reads it; no read fails for that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from temporalio.client import Client

from tests.configured import ConfiguredServer
from workflow_streams.gateway.temporal.uses import pause_of
from workflow_streams.hosted.host import TOUCH_SIGNAL
from workflow_streams.testing.fixtures import StreamServer

from .serving import GatewayProcess, metric, running_gateway
from .test_writes import TEXT, token

Unique = Callable[[str], str]

TTL = 4


async def touches(client: Client, name: str) -> int:
    history = await client.get_workflow_handle(name).fetch_history()
    signals = [e.workflow_execution_signaled_event_attributes for e in history.events]
    return sum(signal.signal_name == TOUCH_SIGNAL for signal in signals)


async def test_a_stream_does_not_expire_under_those_who_follow_it_and_does_when_they_leave(
    stream_server: StreamServer,
    gateway: GatewayProcess,
    http: httpx.AsyncClient,
    client: Client,
    unique: Unique,
) -> None:
    settings = {"host_worker": False, "long_poll_seconds": 100.0}
    with running_gateway(stream_server.address, **settings) as patient:
        names = [unique("stream") for _ in range(3)]
        for name in names:
            made = await http.put(gateway.stream(name), headers={**TEXT, "stream-ttl": str(TTL)})
            assert made.status_code == 201
        several = f"{patient.url}/v1/streams/events"

        async def follow(url: str, **params: str) -> None:
            async with http.stream("GET", url, params=params) as response:
                assert response.status_code == 200
                async for _ in response.aiter_bytes():
                    pass

        async with asyncio.TaskGroup() as group:
            begun = asyncio.get_running_loop().time()
            followers = [
                group.create_task(follow(patient.stream(names[0]), live="sse", offset="now")),
                group.create_task(follow(patient.stream(names[0]), live="sse", offset="now")),
                group.create_task(
                    follow(patient.stream(names[1]), live="long-poll", offset=token(0))
                ),
                group.create_task(follow(several, id=names[2], offset="now")),
            ]
            needed = 2 * TTL / pause_of(TTL)
            while min([await touches(client, name) for name in names]) < needed:
                assert not any(follower.done() for follower in followers)
                await asyncio.sleep(0.2)
            # They share what the stream is told.
            passed = asyncio.get_running_loop().time() - begun
            assert await touches(client, names[0]) <= passed / pause_of(TTL) + 2
            for follower in followers:
                follower.cancel()
        for name in names:
            while (await http.head(gateway.stream(name))).status_code != 404:
                await asyncio.sleep(0.2)


@pytest.mark.processes
async def test_a_read_goes_on_if_its_stream_cannot_be_told_of_it(
    http: httpx.AsyncClient, unique: Unique
) -> None:
    async with ConfiguredServer("history.maximumSignalsPerExecution=5") as server:
        client = await server.connect()
        with running_gateway(server.address) as gateway:
            name = unique("stream")
            url = gateway.stream(name)
            made = await http.put(url, headers={**TEXT, "stream-ttl": "600"}, content="content")
            assert made.status_code == 201
            for _ in range(4):  # the content was one of them
                await client.get_workflow_handle(name).signal(TOUCH_SIGNAL)
            for _ in range(2):
                assert (await http.get(url)).text == "content"
            assert await metric(http, gateway, "workflow_streams_failed_touches_total") == 1
            assert name in gateway.log
