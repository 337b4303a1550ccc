"""`publish` delivers in order and once, and says what it did not deliver."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue

from workflow_streams import WorkflowStreamClient

from .command import SECONDS, Cli
from .hosts import Streams


async def items(client: Client, workflow_id: str) -> list[tuple[str, bytes]]:
    """Return topic and published bytes of what stands in the stream."""
    stream = WorkflowStreamClient.create(client, workflow_id)
    found: list[tuple[str, bytes]] = []
    for _ in range(await stream.get_offset()):
        events: Any = stream.subscribe(from_offset=len(found), result_type=RawValue)
        item = await anext(events)
        payload: Payload = item.data.payload
        assert payload.metadata["encoding"] == b"json/plain"
        found.append((item.topic, payload.data))
        await events.aclose()
    return found


async def test_values_are_text_or_json_as_asked(cli: Cli, streams: Streams) -> None:
    host = await streams.start("values", stays=True)
    for args in (
        ("t", "42"),
        ("t", ' "ü\\ " \n'),
        ("t", ""),
        ("n", "--json", '{"big": 12345678901234567890, "pi":3.10}'),
        ("n", "--json", "--", "-4.5"),
    ):
        done = await cli("publish", host.id, *args)
        assert (done.status, done.out, done.err) == (0, "", "")
    assert await items(streams.client, host.id) == [
        ("t", b'"42"'),
        ("t", json.dumps(' "ü\\ " \n').encode()),
        ("t", b'""'),
        ("n", b'{"big": 12345678901234567890, "pi":3.10}'),
        ("n", b"-4.5"),
    ]


async def test_lines_are_published_in_order_and_their_offsets_told(
    cli: Cli, streams: Streams
) -> None:
    count = 12_000
    text = await streams.start("text", "before", stays=True)
    told = await streams.start("told", "before", stays=True)
    lines = "".join(f"line {n}\n" for n in range(count))
    values = await streams.start("json", stays=True)
    plain, offsets, blank = await asyncio.gather(
        cli("publish", text.id, "t", stdin=lines),
        cli("publish", told.id, "t", "-", "--offset", stdin=lines.encode()[:-1]),
        cli("publish", values.id, "t", "--json", stdin="\n 1\n\n[2 ]"),
    )
    assert [(d.status, d.err) for d in (plain, offsets, blank)] == [(0, "")] * 3
    assert (plain.out, blank.out) == ("", "")
    assert offsets.out == "".join(f"{n + 1}\n" for n in range(count))
    for host in (text, told):
        stream = WorkflowStreamClient.create(streams.client, host.id)
        await host.signal("go")
        found = [(item.offset, item.data) async for item in stream.subscribe("t")]
        assert found == [(n + 1, f"line {n}") for n in range(count)]
    assert await items(streams.client, values.id) == [("t", b"1"), ("t", b"[2 ]")]


async def test_a_line_is_published_as_it_comes_and_interruption_tells_the_count(
    cli: Cli, streams: Streams
) -> None:
    host = await streams.start("live", stays=True)
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        before = await WorkflowStreamClient.create(streams.client, host.id).get_offset()
        async with cli.running("publish", host.id, "t", "--offset") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for offset in range(before, before + 3):
                process.stdin.write(b"x\n")
                assert await process.stdout.readline() == f"{offset}\n".encode()
            process.send_signal(number)
            async with asyncio.timeout(SECONDS):
                out, err = await process.communicate()
        assert (process.returncode, out) == (status, b"")
        assert err == b"workflow-streams: interrupted; at least 3 item(s) were delivered\n"
    assert len(await items(streams.client, host.id)) == 6


async def test_it_stops_at_a_line_that_cannot_be_published(cli: Cli, streams: Streams) -> None:
    host = await streams.start("bad", stays=True)
    large = b'"' + b"x" * 2_000_000 + b'"'
    too_long = "too long: an item may take nearly 2 MiB encoded, 1.4 MB as it is"
    not_text = "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    for third, fault in (
        (b"three\n4\n", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"\xff\n", f"not UTF-8: {not_text}"),
        (large + b"\n4\n", too_long),
        (2 * large, too_long),
    ):
        data = b"1\n2\n" + third
        done = await cli("publish", host.id, "t", "--json", stdin=data)
        assert (done.status, done.out) == (5, "")
        assert (
            done.err
            == f"workflow-streams: line 3 is {fault}; the 2 item(s) before it were delivered\n"
        )
    assert await items(streams.client, host.id) == [("t", b"1"), ("t", b"2")] * 4


async def test_what_was_not_delivered_is_counted(cli: Cli, streams: Streams) -> None:
    ended = await streams.start("ended")
    await ended.result()
    nobody = f"{streams.queue}-nobody"
    contrib = await streams.start_contrib("contrib")
    closed, offsets, missing, away, wrong, old, wrong_old = await asyncio.gather(
        cli("publish", ended.id, "t", stdin="a\nb\nc\n"),
        cli("publish", ended.id, "t", "--offset", stdin="a\nb\nc\n"),
        cli("publish", nobody, "t", "a"),
        Cli("127.0.0.1:1")("publish", nobody, "t", "a"),
        Cli(None)("publish", nobody, "t", "--json", "nothing"),
        cli("publish", contrib.id, "t", "a"),
        cli("publish", contrib.id, "t", "--offset", "a"),
    )
    ending = f"Workflow '{ended.id}': has ended and takes no more items\n"
    assert closed.status == 5
    assert closed.err == (
        f"workflow-streams: Workflow '{ended.id}': 3 item(s) were not delivered: {ending}"
    )
    assert (offsets.status, offsets.out) == (5, "")
    assert missing.status == 3
    assert "1 item(s) were not delivered" in missing.err
    assert away.status == 4
    assert away.err.startswith("workflow-streams: No Temporal server answers at 127.0.0.1:1: ")
    assert wrong.status == 2
    assert wrong.err.startswith("workflow-streams: VALUE is not JSON: ")
    assert (old.status, old.err) == (0, "")
    assert wrong_old.status == 2
    assert wrong_old.err == (
        "workflow-streams: only streams that workflow_streams hosts tell the offset; "
        "leave out --offset\n"
    )
    shown = await cli("tail", contrib.id, "--no-follow")
    assert shown.out == "     0  t         a\n"
