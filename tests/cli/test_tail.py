"""`tail` shows a stream as it is, whole and in order, and its status tells how it ended."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import typer
from temporalio.client import Client

from workflow_streams import LATEST, Last, WorkflowStreamClient
from workflow_streams.cli.actions.tail import Tail, tail
from workflow_streams.cli.tail import start_of
from workflow_streams.errors import StreamNotFoundError
from workflow_streams.log.positions import Position, parse_position
from workflow_streams.log.publisher_ids import ActivityPublisher, Attempt
from workflow_streams.read import arrival

from .command import Cli, Done
from .hosts import Streams, batch, json_item, payload

TEXT = [
    ("news", json_item('"rates held"')),
    ("news", json_item('{"big": 123456789012345678901234567890, "pi": 3.10}')),
    ("a longer topic", json_item("[1,\n 2]")),
    ("esc\x1b[31m", json_item('"\\u001b]0;title\\u0007 ü\u202e \\n\\t\\ud800"')),
    ("bin", payload("binary/plain", b"\x00\xffhello")),
    ("bin", payload("binary/null", b"")),
    ("proto", payload("json/protobuf", b'{"id":7}', messageType="shop.Order")),
    ("proto", payload("binary/protobuf", b"\x08\x07", messageType="shop.Order")),
    ("secret", payload("binary/encrypted", bytes(60))),
    ("bare", payload(None, b"?")),
    ("broken", json_item("{oops")),
    ("broken", json_item("NaN")),
    ("broken", payload("json/plain", b"\xff")),
    ("broken", "!!! no base64"),
    ("news", json_item("null")),
]


def without_times(done: Done) -> list[dict[str, Any]]:
    """Return the objects without the time of each item, of just now, and all positions."""
    objects = done.objects
    now = datetime.now(timezone.utc)
    for found in objects:
        if found["type"] in ("item", "undecodable"):
            time = datetime.fromisoformat(found.pop("time"))
            assert now - timedelta(minutes=10) < time < now + timedelta(minutes=1)
    return without_positions(objects)


def without_positions(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for found in objects:
        position = parse_position(found.pop("position"))
        assert isinstance(position, Position)
        after = {"gap": "end", "rewind": "next_offset"}.get(found["type"], "offset")
        is_item = found["type"] in ("item", "undecodable")
        assert position.offset == found[after] + is_item
    return objects


async def test_every_kind_of_item_is_shown_on_a_line_of_its_own(cli: Cli, streams: Streams) -> None:
    host = await streams.signalled("kinds", batch(*TEXT))
    await host.result()
    text, objects = await asyncio.gather(cli("tail", host.id), cli("tail", host.id, "--json"))
    assert (text.status, text.err) == (0, "")
    assert text.out == (
        "     0  news            rates held\n"
        '     1  news            {"big": 123456789012345678901234567890, "pi": 3.10}\n'
        "     2  a longer topic  [1,  2]\n"
        "     3  esc\\x1b[31m     \\x1b]0;title\\x07 ü\\u202e \\n\\t\\ud800\n"
        "     4  bin             <binary/plain, 7 bytes> b'\\x00\\xffhello'\n"
        "     5  bin             null\n"
        '     6  proto           shop.Order {"id":7}\n'
        "     7  proto           <shop.Order binary/protobuf, 2 bytes> b'\\x08\\x07'\n"
        f"     8  secret          <binary/encrypted, 60 bytes> {bytes(48)!r}...\n"
        "     9  bare            <no encoding, 1 bytes> b'?'\n"
        "    10  broken          !! undecodable: not JSON: Expecting property name enclosed in "
        "double quotes: line 1 column 2 (char 1)\n"
        "    11  broken          !! undecodable: not JSON: NaN is no JSON value\n"
        "    12  broken          !! undecodable: not UTF-8: 'utf-8' codec can't decode byte 0xff "
        "in position 0: invalid start byte\n"
        "    13  broken          !! undecodable: not a serialised payload\n"
        "    14  news            null\n"
        "-- end: completed, head 15\n"
    )
    assert (objects.status, objects.err) == (0, "")
    assert '"data":{"big": 123456789012345678901234567890, "pi": 3.10},' in objects.out
    assert objects.out.isprintable() is False  # its line ends, and nothing else
    assert objects.out.replace("\n", "").isprintable()
    found = without_times(objects)
    assert [(o["type"], o.get("offset")) for o in found] == [
        *(("item", offset) for offset in range(10)),
        *(("undecodable", offset) for offset in range(10, 14)),
        ("item", 14),
        ("end", 15),
    ]
    assert [o["topic"] for o in found[:-1]] == [topic for topic, _ in TEXT]
    assert [o["data"] for o in found[:7]] == [
        "rates held",
        {"big": 123456789012345678901234567890, "pi": 3.1},
        [1, 2],
        "\x1b]0;title\x07 ü\u202e \n\t\ud800",
        "AP9oZWxsbw==",
        None,
        {"id": 7},
    ]
    assert [(o.get("encoding"), o.get("message_type")) for o in found[4:10]] == [
        ("binary/plain", None),
        (None, None),
        (None, "shop.Order"),
        ("binary/protobuf", "shop.Order"),
        ("binary/encrypted", None),
        ("", None),
    ]
    assert found[13] == {
        "type": "undecodable",
        "offset": 13,
        "topic": "broken",
        "data": None,
        "encoding": "unreadable",
        "error": "not a serialised payload",
    }
    assert found[-1] == {
        "type": "end",
        "outcome": "completed",
        "offset": 15,
        "run_id": host.first_execution_run_id,
    }


async def test_gaps_and_rewinds_are_shown_where_they_are(cli: Cli, streams: Streams) -> None:
    first, second = (
        ActivityPublisher("run", "7", Attempt(number, number)).publisher_id("x")
        for number in (1, 2)
    )
    host = await streams.signalled(
        "marks",
        batch(("t", json_item('"half"')), ("t", json_item('"way"')), publisher=first, sequence=1),
        batch(("t", json_item('"whole"')), publisher=second, sequence=1),
        batch(("t", json_item('"late"')), publisher=first, sequence=2),
        last=["own"],
        truncate=1,
    )
    await host.result()
    text, objects, from_2 = await asyncio.gather(
        cli("tail", host.id),
        cli("tail", host.id, "--json"),
        cli("tail", host.id, "--from", "2", "--topic", "own", "--topic", "none"),
    )
    assert text.out == (
        "     1  t         way\n"
        "-- rewind: offsets 0 to 1 (2 items) undone, attempt 2 of activity 7 begins\n"
        "     2  t         whole\n"
        "     3  own       own\n"
        "-- end: completed, head 4\n"
    )
    assert without_times(objects)[1] == {
        "type": "rewind",
        "ranges": [[0, 2]],
        "reason": "attempt",
        "next_offset": 2,
        "activity_id": "7",
        "attempt": 2,
    }
    assert from_2.out == (
        "-- rewind: offsets 0 to 1 (2 items) undone, attempt 2 of activity 7 begins\n"
        "     3  own   own\n"
        "-- end: completed, head 4\n"
    )
    later = await streams.start("gap", *"abcdef", truncate=4)
    await later.result()
    text, objects = await asyncio.gather(
        cli("tail", later.id, "--from", "1"), cli("tail", later.id, "--from", "1", "--json")
    )
    assert text.out == (
        "-- gap: offsets 1 to 3 (3 items) truncated\n"
        "     4  own       e\n"
        "     5  own       f\n"
        "-- end: completed, head 6\n"
    )
    assert without_times(objects)[0] == {
        "type": "gap",
        "start": 1,
        "end": 4,
        "reason": "truncated",
    }


async def test_the_status_tells_how_the_stream_ended(
    cli: Cli, streams: Streams, client: Client
) -> None:
    failed = await streams.start("failed", "a", fails=True)
    canceled = await streams.start("canceled", "a", stays=True)
    terminated = await streams.start("terminated", "a", stays=True)
    for handle in (canceled, terminated):  # not before they have published
        assert await WorkflowStreamClient(handle, client=client).get_offset() == 1
    await canceled.cancel()
    await terminated.terminate("enough")
    timed_out = await client.start_workflow(
        "Host", id=f"{streams.queue}-late", task_queue="nobody", run_timeout=timedelta(seconds=1)
    )
    done = await asyncio.gather(
        *(cli("tail", h.id) for h in (failed, canceled, terminated, timed_out)),
        cli("tail", failed.id, "--json"),
    )
    assert [(one.status, one.err) for one in done] == [(s, "") for s in (10, 11, 12, 13, 10)]
    assert [one.out.splitlines()[-1] for one in done[:4]] == [
        "-- end: failed, head 1: PrinterError: out of ink: ValueError: cyan",
        "-- end: canceled, head 1",
        "-- end: terminated, head 1",
        "-- end: timed_out, head 0",
    ]
    assert done[4].objects[-1]["failure"] == {
        "type": "PrinterError",
        "message": "PrinterError: out of ink",
        "cause": {"type": "ValueError", "message": "ValueError: cyan"},
    }


async def test_it_starts_where_it_is_told_and_stops_at_the_head(cli: Cli, streams: Streams) -> None:
    host = await streams.start("start", *"abcde", stays=True)
    starts = [(), ("--from", "3"), ("--from", "-2"), ("--from", "latest"), ("--from", "9")]
    done = await asyncio.gather(*(cli("tail", host.id, "--no-follow", *how) for how in starts))
    assert [(one.status, one.err) for one in done] == [(0, "")] * 5
    lines = [f"     {offset}  own       {item}\n" for offset, item in enumerate("abcde")]
    assert [one.out for one in done] == [
        "".join(lines), "".join(lines[3:]), "".join(lines[3:]), "", ""
    ]  # fmt: skip
    await host.signal("go")
    await host.result()
    ended = await cli("tail", host.id, "--no-follow", "--from", "4", "--timestamps")
    assert ended.status == 0
    stamp, _, rest = ended.out.partition("  ")
    assert datetime.fromisoformat(stamp).tzinfo is not None
    assert rest == "     4  own       e\n-- end: completed, head 5\n"


async def test_it_goes_on_at_a_position_and_tells_of_another_workflow(
    cli: Cli, streams: Streams
) -> None:
    host = await streams.start("again", *"abc")
    await host.result()
    whole = await cli("tail", host.id, "--json")
    positions = [found["position"] for found in whole.objects]
    rest = await cli("tail", host.id, "--json", "--from", positions[1])
    assert (rest.status, rest.out) == (0, "".join(whole.out.splitlines(keepends=True)[2:]))
    other = await streams.start("again", "x")
    assert other.id == host.id
    await other.result()
    text = await cli("tail", host.id, "--from", positions[1])
    assert text.out == (
        "-- rewind: offsets 0 to 1 (2 items) undone, another workflow has this id now\n"
        "     0  own       x\n"
        "-- end: completed, head 1\n"
    )


async def test_it_waits_for_a_workflow_that_is_not_there_yet(cli: Cli, streams: Streams) -> None:
    name = f"{streams.queue}-coming"
    early = await cli("tail", name, "--wait", "0.1")
    assert (early.status, early.out) == (3, "")
    assert early.err == (
        f"workflow-streams: Workflow '{name}': it has not been started within 0.1 s\n"
    )
    async with cli.running("tail", name, "--wait", "100") as process:
        host = await streams.start("coming", "a")
        assert host.id == name
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (
        0,
        b"     0  own       a\n-- end: completed, head 1\n",
        b"",
    )


async def test_of_a_workflow_that_it_has_waited_for_it_shows_all(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also with --from latest: whatever there is has come since. Within this process, since nothing
    outside of it tells when it has begun to wait."""
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)
    address = streams.client.service_client.config.target_host
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", streams.client.namespace)
    waits = asyncio.Event()
    ask = arrival.describe

    async def describe(*of: Any) -> Any:
        try:
            return await ask(*of)
        except StreamNotFoundError:
            waits.set()
            raise

    monkeypatch.setattr(arrival, "describe", describe)
    wanted = Tail(
        workflow_id=f"{streams.queue}-late",
        run_id=None,
        topics=[],
        start=LATEST,
        follow=True,
        wait_seconds=100,
        as_json=False,
        timestamps=False,
    )
    tailing = asyncio.create_task(tail(wanted))
    waiting = asyncio.create_task(waits.wait())
    await asyncio.wait({waiting, tailing}, timeout=100, return_when=asyncio.FIRST_COMPLETED)
    assert waits.is_set()
    host = await streams.start("late", "a", "b")
    assert host.id == wanted.workflow_id
    assert await asyncio.wait_for(tailing, 100) == 0
    out = capfd.readouterr().out
    assert out == "     0  own       a\n     1  own       b\n-- end: completed, head 2\n"


async def test_it_follows_over_a_rollover_and_shows_what_comes_as_it_comes(
    cli: Cli, streams: Streams, client: Client
) -> None:
    host = await streams.start("live", "a", rolls=1, stays=True)
    stream = WorkflowStreamClient.create(client, host.id)
    async with cli.running("tail", host.id) as process:
        assert process.stdout is not None
        seen = [await process.stdout.readline() for _ in range(2)]
        for offset in range(2, 5):
            assert await stream.topic("live").send(offset) == offset
            seen.append(await process.stdout.readline())
        await host.signal("go")
        rest, err = await process.communicate()
    assert [line.decode() for line in seen] == [
        "     0  own       a\n",
        "     1  own       a\n",
        *(f"     {offset}  live      {offset}\n" for offset in range(2, 5)),
    ]
    assert (process.returncode, rest, err) == (0, b"-- end: completed, head 5\n", b"")
    first_run = await cli("tail", host.id, "--run-id", str(host.first_execution_run_id))
    assert first_run.out.splitlines()[0] == "     0  own       a"
    assert first_run.out.splitlines()[-1] == "-- end: completed, head 5"


async def test_a_stream_of_the_contrib_is_shown_as_well(cli: Cli, streams: Streams) -> None:
    host = await streams.start_contrib("contrib", *"abc")
    text, objects = await asyncio.gather(
        cli("tail", host.id, "--no-follow"), cli("tail", host.id, "--no-follow", "--json")
    )
    assert text.out == "".join(f"     {o}  own       {item}\n" for o, item in enumerate("abc"))
    assert without_positions(objects.objects) == [
        {"type": "item", "offset": offset, "topic": "own", "data": item}
        for offset, item in enumerate("abc")
    ]
    await host.signal("go")
    await host.result()
    ended = await cli("tail", host.id, "--from", "2")
    assert (ended.status, ended.out) == (0, "     2  own       c\n-- end: completed, head 3\n")


async def test_what_is_not_there_is_said(cli: Cli, streams: Streams) -> None:
    streamless = await streams.start_streamless("streamless")
    unopened = await streams.client.start_workflow(
        "Host", id=f"{streams.queue}-unopened", task_queue="nobody"
    )
    nobody, nothing, early = await asyncio.gather(
        cli("tail", f"{streams.queue}-nobody"),
        cli("tail", streamless.id),
        cli("tail", unopened.id, "--no-follow"),
    )
    assert (nobody.status, nobody.out) == (3, "")
    assert nobody.err == (
        f"workflow-streams: Workflow '{streams.queue}-nobody': not found: workflow not found for "
        f"ID: {streams.queue}-nobody\n"
    )
    assert (nothing.status, nothing.out) == (3, "")
    assert nothing.err.startswith(
        f"workflow-streams: Workflow '{streamless.id}': hosts no stream: "
    )
    assert (early.status, early.out) == (0, "")
    assert early.err == "workflow-streams: no worker has opened the stream yet\n"


@pytest.mark.processes
async def test_a_start_that_is_none_is_wrong_usage() -> None:
    for start in ("-x", "1.5", "earliest", "--5", "99999999999999999999", ""):
        with pytest.raises(typer.BadParameter):
            start_of(start)
    assert [start_of(start) for start in ("0", "7", "latest", "-3")] == [0, 7, Last(0), Last(3)]
    done = await Cli(None)("tail", "any", "--from", "1.5")
    assert (done.status, done.out) == (2, "")
    assert done.err.endswith(
        "Error: Invalid value for --from: it is an offset, 'latest', -N for N items back, or a "
        "position\n"
    )
