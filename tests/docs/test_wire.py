"""docs/wire.md: its messages are the code's messages, and its reader comes to our offsets."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, get_args

import pytest
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.converter import DataConverter
from temporalio.worker import Worker

from tests.texts import decode_payload
from workflow_streams import WorkflowStreamClient
from workflow_streams.log import fold, wire
from workflow_streams.log.batches import batch_payload, parse_signal
from workflow_streams.log.compact import SIGNAL_BOUNDS, WHOLE_BOUNDS, compact_payloads
from workflow_streams.log.payloads import JSON_KIND, json_payload
from workflow_streams.log.records import parse_record, record_payload
from workflow_streams.log.wire import (
    Batch,
    Closing,
    Opening,
    PollResult,
    Record,
    Rules,
    RunRef,
)

from .hosts import Mixed, MixedInput, stumble
from .markdown import ROOT, Page

PAGE = Page(ROOT / "docs/wire.md")


def kind_of(text: str) -> str:
    """Tell which message the code takes a JSON block for, and check that it says all of it."""
    payload = json_payload(text.encode())
    message = json.loads(text)
    if "next_offset" in message:
        page = DataConverter.default.payload_converter.from_payload(payload, PollResult)
        written = DataConverter.default.payload_converter.to_payload(page)
        assert json.loads(written.data) == message
        return "page"
    record = parse_record(payload)
    if record is not None:
        assert parse_record(record_payload(record)) == record
        if record.opening is None:
            return "record"
        assert json.loads(record_payload(record).data) == message
        return "opening"
    found = parse_signal(payload)
    assert isinstance(found, list), text
    [batch] = found
    fields = json.loads(batch_payload(batch.entries, batch.publisher_id, batch.sequence).data)
    assert fields == message
    return "batch"


def test_every_message_shown_is_one_of_the_code() -> None:
    shown = [kind_of(block.text) for block in PAGE.blocks if block.language == "json"]
    assert shown == ["batch", "opening", "record", "record", "page"]
    for block in PAGE.blocks:
        for data in re.findall(
            r'"data": "([^"]*)"', block.text if block.language == "json" else ""
        ):
            decode_payload(data)


def test_every_field_is_described_and_no_other() -> None:
    rows = set(re.findall(r"^\| `([\w.]+)` \|", PAGE.text, re.MULTILINE))
    opening = Opening(
        1,
        1,
        {"p": 1},
        [RunRef("r", 0)],
        3,
        Rules("t"),
        "k",
        {"s": [range(1)]},
        Closing("p", 1, "r"),
    )
    record = json.loads(record_payload(Record(1, [("t", JSON_KIND, b"")], opening, ring=True)).data)
    batch = json.loads(batch_payload([], "p", 1, tag="t", close=True, order="k").data)
    fields = {name for name in record if name != "open"} | set(batch)
    fields |= {f"open.{name}" for name in record["open"]}
    assert rows == fields


def test_every_name_and_every_verdict_is_on_the_page() -> None:
    names = (
        wire.PUBLISH_SIGNAL, wire.POLL, wire.OFFSET_QUERY, wire.MEMO_KEY, wire.PATCH_ID,
        wire.STREAM_DRAINING, wire.TRUNCATED_OFFSET,
    )  # fmt: skip
    assert all(f"`{name}`" in PAGE.text or f'"{name}"' in PAGE.text for name in names)
    assert f"{wire.MAX_BATCH_BYTES // 1024} KiB" in PAGE.text
    assert f"{wire.MAX_ITEM_BYTES // 1024:,} KiB" in PAGE.text
    assert f"at most {wire.MAX_FRAGMENTS}" in PAGE.text
    assert f"{wire.FRAGMENT_BYTES:,} bytes" in PAGE.text
    text = " ".join(PAGE.text.split())
    for bounds in (SIGNAL_BOUNDS, WHOLE_BOUNDS):
        assert f"{bounds.items:,}" in text
        assert f"{bounds.body_bytes // 1024**2} MiB" in text
    for verdict in get_args(fold.Verdict):
        words = re.sub(r"(?<!^)([A-Z])", r" \1", verdict.__name__).lower()
        assert f"**{words}**" in PAGE.text


async def test_the_reader_on_the_page_comes_to_the_same_offsets_as_ours(
    client: Client,
    unique: Callable[[str], str],
    load: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page, name = load("docs/wire.md"), unique("mixed")
    async with Worker(client, task_queue=name, workflows=[Mixed], activities=[stumble]):
        handle = await client.start_workflow(
            Mixed.run,
            MixedInput(1),
            id=name,
            task_queue=name,
            start_signal=wire.PUBLISH_SIGNAL,
            start_signal_args=[{"items": [{"topic": "early", "data": "EgRudWxs"}]}],
        )
        first_run_id = handle.first_execution_run_id
        assert first_run_id is not None
        reader = asyncio.create_task(read_with(page, client, name, first_run_id))
        for number in (1, 2):
            run_id = (await handle.describe()).run_id
            run = client.get_workflow_handle(name, run_id=run_id)
            await page.publish(run, "docs", ["a", {"b": 1}, None])
            # Once more under the same sequence, and one batch in fragments.
            entries = [("fragments", JSON_KIND, b"null")] * 2
            batch = Batch(entries, "someone", 7, tag="x")
            with monkeypatch.context() as patched:
                patched.setattr(wire, "FRAGMENT_BYTES", 30)
                cut = list(compact_payloads(batch))
            assert len(cut) == 2
            for payload in [*cut, *compact_payloads(batch)]:
                await run.signal(wire.PUBLISH_SIGNAL, RawValue(payload))
            again = batch_payload(entries, "someone", 7, tag="x")
            await run.signal(wire.PUBLISH_SIGNAL, RawValue(again))
            await until_said(client, name, "activity", number)
            await run.signal(Mixed.close)
            await left(client, name, run_id)
        await handle.result()
        theirs = await asyncio.wait_for(reader, 100)
    ours = [
        (item.offset, item.topic, item.data.payload.data)
        async for item in WorkflowStreamClient.create(client, name).subscribe(result_type=RawValue)
    ]
    assert theirs == ours
    topics = [topic for _, topic, _ in ours]
    assert {t: topics.count(t) for t in sorted(set(topics))} == {
        "activity": 6, "docs": 6, "early": 1, "fragments": 2, "own": 7,
    }  # fmt: skip


async def read_with(page: Any, client: Client, name: str, run_id: str) -> list[Any]:
    return [item async for item in page.read(client, name, run_id)]


async def until_said(client: Client, name: str, word: str, times: int) -> None:
    said = 0
    async for item in WorkflowStreamClient.create(client, name).subscribe("own"):
        said += item.data == word
        if said == times:
            return


async def left(client: Client, name: str, run_id: str) -> None:
    """Wait until the workflow has left this run."""
    handle = client.get_workflow_handle(name, run_id=run_id)
    async for _ in handle.fetch_history_events(wait_new_event=True):
        pass
