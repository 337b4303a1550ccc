"""Calls that are made once fail at once, and are the user's own otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from temporalio.client import Client, WorkflowHistoryEventAsyncIterator
from temporalio.service import RPCError, RPCStatusCode

from tests.configured import configured_for_many
from tests.read.counting import HistoryReads
from workflow_streams.embedded import EmbeddedServer
from workflow_streams.temporal.once import once
from workflow_streams.temporal.rpc import has_no_room_to_wait


@pytest.fixture(scope="module")
def narrow_server() -> Iterator[EmbeddedServer]:
    """A server that lets two calls wait."""
    with configured_for_many("frontend.namespaceCount=2") as server:
        yield server


async def tail_of(client: Client, name: str) -> WorkflowHistoryEventAsyncIterator:
    """Read a history to its end, where the next call waits."""
    pages = client.get_workflow_handle(name).fetch_history_events(wait_new_event=True)
    await pages.fetch_next_page()
    return pages


async def test_a_refused_call_that_waits_is_not_tried_again(narrow_server: EmbeddedServer) -> None:
    reads = HistoryReads()
    client = await narrow_server.connect(interceptors=[reads])
    await client.start_workflow("Any", id="refused", task_queue="nowhere")
    async with asyncio.timeout(100):
        tails = [await tail_of(once(client), "refused") for _ in range(3)]
        waiting = [asyncio.create_task(tail.fetch_next_page()) for tail in tails]
        [refused], others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(RPCError) as raised:
            await refused
        assert has_no_room_to_wait(raised.value)
        assert reads.active == 2
        await client.get_workflow_handle("refused").signal("go on")
        await asyncio.gather(*others)
    assert reads.calls == 6


async def test_a_client_has_one_that_calls_once(narrow_server: EmbeddedServer) -> None:
    client, other = await narrow_server.connect(), await narrow_server.connect(namespace="other")
    assert once(client) is once(client)
    assert once(client) is not once(other)
    assert once(other).namespace == "other"
    assert once(client).data_converter is client.data_converter


async def test_the_call_goes_by_the_key_that_is_set_later(narrow_server: EmbeddedServer) -> None:
    client = await narrow_server.connect()
    twin = once(client)
    client.rpc_metadata = {"name": "value"}
    assert twin.rpc_metadata == {"name": "value"}
    twin.api_key = "key"
    assert client.api_key == "key"
    assert twin.service_client.worker_service_client is client.service_client


def test_other_refusals_are_no_want_of_room() -> None:
    assert not has_no_room_to_wait(RPCError("busy", RPCStatusCode.RESOURCE_EXHAUSTED, b""))
    assert not has_no_room_to_wait(RPCError("away", RPCStatusCode.UNAVAILABLE, b""))
    assert not has_no_room_to_wait(TimeoutError())
