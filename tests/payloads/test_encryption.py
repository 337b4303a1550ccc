"""A codec that encrypts: nothing of an item stands in the history in clear text."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from types import NoneType
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.worker import Worker

from workflow_streams import End, Item, WorkflowStreamClient, errors
from workflow_streams.testing.fixtures import StreamServer

from .codecs import encrypted_with
from .hosts import Secret, Vault, VaultInput, whisper

KEY = os.urandom(32)

EXPECTED = [
    ("own-topic", Secret("the eagle lands")),
    ("activity-topic", Secret("the eagle told by activity", 2)),
    ("activity-topic", Secret("the eagle told acknowledged", 3)),
    ("service-topic", Secret("the eagle sent", 9)),
] * 2 + [
    ("own-topic", Secret("the eagle left")),
    ("own-topic", Secret("the nest is empty")),
]


async def run_vault(client: Client, name: str) -> None:
    """Run a vault through one rollover to its end, publishing from outside in each run."""
    async with Worker(client, task_queue=name, workflows=[Vault], activities=[whisper]):
        handle = await client.start_workflow(Vault.run, VaultInput(1), id=name, task_queue=name)
        for run in range(2):
            async with WorkflowStreamClient.create(client, name) as stream:
                before = aiter(stream.subscribe(from_offset=4 * run))
                for _ in range(3):
                    await anext(before)
                secrets = stream.topic("service-topic", type=Secret)
                assert await secrets.send(Secret("the eagle sent", 9)) == 4 * run + 3
            run_id = (await handle.describe()).run_id
            await client.get_workflow_handle(name, run_id=run_id).signal(Vault.close)
            await asyncio.sleep(0)
        await handle.result()


async def raw_bytes(client: Client, name: str) -> bytes:
    """Everything that the server keeps of a workflow and its earlier runs."""
    kept = b""
    run_id: str | None = (await client.get_workflow_handle(name).describe()).run_id
    while run_id:
        handle = client.get_workflow_handle(name, run_id=run_id)
        kept += (await handle.describe()).raw_description.SerializeToString()
        run_id = None
        async for event in handle.fetch_history_events():
            kept += event.SerializeToString()
            run_id = run_id or (
                event.workflow_execution_started_event_attributes.continued_execution_run_id
            )
    return kept


def traces(kept: bytes) -> dict[str, bool]:
    """Tell which traces of the items can be found: their data, their text, their topics."""
    payload = DataConverter.default.payload_converter.to_payload(Secret("the eagle lands"))
    return {
        "item": payload.data in kept,
        "part of an item": payload.data[8:20] in kept,
        "text": b"eagle" in kept or b"nest" in kept,
        "own topic": b"own-topic" in kept,
        "activity's topic": b"activity-topic" in kept,
        "service's topic": b"service-topic" in kept,
    }


async def read(client: Client, name: str) -> list[Any]:
    stream = WorkflowStreamClient.create(client, name)
    for topic in ("own-topic", "activity-topic", "service-topic"):
        stream.topic(topic, type=Secret)
    return [event async for event in stream.follow()]


async def test_items_are_read_with_the_key_and_stand_nowhere_in_clear_text(
    stream_server: StreamServer, client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("vault")
    keeper = await stream_server.connect(data_converter=encrypted_with(KEY))
    await run_vault(keeper, name)
    # No worker runs any more, and the reader is a client of its own.
    reader = await stream_server.connect(data_converter=encrypted_with(KEY))
    *items, end = await read(reader, name)
    assert items == [Item(topic, secret, i) for i, (topic, secret) in enumerate(EXPECTED)]
    assert isinstance(end, End)
    assert end.outcome == "completed"
    found = traces(await raw_bytes(client, name))
    assert not any(found.values()), found


async def test_without_a_codec_all_those_traces_are_there(
    client: Client, unique: Callable[[str], str]
) -> None:
    """What the test above looks for can be found."""
    name = unique("vault")
    await run_vault(client, name)
    *items, _ = await read(client, name)
    assert items == [Item(topic, secret, i) for i, (topic, secret) in enumerate(EXPECTED)]
    found = traces(await raw_bytes(client, name))
    assert all(found.values()), found


@pytest.mark.parametrize("key", [os.urandom(32), None], ids=["wrong key", "no key"])
async def test_a_reader_without_the_key_is_told_so(
    stream_server: StreamServer, unique: Callable[[str], str], key: bytes | None
) -> None:
    name = unique("vault")
    keeper = await stream_server.connect(data_converter=encrypted_with(KEY))
    await run_vault(keeper, name)
    converter = encrypted_with(key) if key else DataConverter.default
    stream = WorkflowStreamClient.create(
        await stream_server.connect(data_converter=converter), name
    )
    async with asyncio.timeout(100):
        for read in (
            lambda: anext(stream.subscribe()),
            lambda: anext(stream.follow(from_offset=3)),
            stream.get_offset,
        ):
            with pytest.raises(errors.CodecError, match="codec") as raised:
                await read()
            assert raised.value.workflow_id == name
            assert isinstance(raised.value.__cause__, InvalidTag if key else NoneType)
