"""Workers die or hang, really: readers and publishers go on, and an attempt counts once."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import Any

from temporalio.client import Client

from workflow_streams import End, Item, Rewind, WorkflowStreamClient
from workflow_streams.testing.fixtures import StreamServer

from .hosts import TASK_TIMEOUT, Host, start_host
from .processes import running
from .reading import Reader, reading
from .tellers import Teller, TellerInput


def settled(reader: Reader) -> list[tuple[int, Any]]:
    """Items that stand in the end, rewinds applied."""
    items: dict[int, Any] = {}
    for event in reader.events:
        if isinstance(event, Item):
            assert event.offset not in items
            items[event.offset] = event.data
        elif isinstance(event, Rewind):
            for superseded in event.ranges:
                for offset in superseded:
                    del items[offset]
    return list(items.items())


async def test_readers_and_publishers_go_on_without_the_worker(
    client: Client, stream_server: StreamServer, unique: Any
) -> None:
    workflow_id = await start_host(client, unique("host"))
    handle = client.get_workflow_handle(workflow_id)
    stream = WorkflowStreamClient.create(client, workflow_id, batch_interval=timedelta(0))
    worker = ("worker_process", stream_server.address, workflow_id)
    async with reading(stream) as reader, stream:
        async with running(*worker) as first:
            await first.said("ready")
            for value in range(10):
                stream.topic("t").publish(value)
                await handle.signal(Host.publish, f"own {value}")
            await reader.until(lambda: (19, "own 9") in reader.items or len(reader.items) >= 20)
            await first.kill()
            for value in range(10, 20):
                assert await stream.topic("t").send(value) == value + 10
            await reader.count(30)
            assert await stream.get_offset() == 30
            late = [item async for item in first_items(stream, 30)]
        async with running(*worker) as second:
            await second.said("ready")
            await handle.signal(Host.publish, "own 10")
            await handle.signal(Host.close)
            await handle.result()
    assert [offset for offset, _ in reader.items] == list(range(31))
    assert late == reader.items[:30]
    assert [data for _, data in reader.items if isinstance(data, int)] == list(range(20))
    own = [data for _, data in reader.items if isinstance(data, str)]
    assert own == [f"own {value}" for value in range(11)]
    assert isinstance(reader.events[-1], End)
    assert len(reader.events) == 32


async def first_items(stream: WorkflowStreamClient, count: int) -> Any:
    items = aiter(stream.subscribe())
    for _ in range(count):
        item = await anext(items)
        yield item.offset, item.data
    await items.aclose()  # pyright: ignore[reportAttributeAccessIssue]


async def start_teller(client: Client, name: str) -> str:
    await client.start_workflow(
        Teller.run, TellerInput(), id=name, task_queue=name, task_timeout=TASK_TIMEOUT
    )
    return name


async def test_attempt_killed_with_its_worker_is_taken_back(
    client: Client, stream_server: StreamServer, unique: Any
) -> None:
    workflow_id = await start_teller(client, unique("teller"))
    stream = WorkflowStreamClient.create(client, workflow_id)
    worker = ("worker_process", stream_server.address, workflow_id)
    async with reading(stream) as reader:
        async with running(*worker) as first:
            await reader.until(lambda: any(data == "1-2" for _, data in reader.items))
            assert await stream.topic("outside").send("before") >= 4
            await first.kill()
        assert await stream.topic("outside").send("between") >= 5
        async with running(*worker):
            await client.get_workflow_handle(workflow_id).signal(Teller.finish)
            await client.get_workflow_handle(workflow_id).result()
    assert [e.data for e in reader.events if isinstance(e, Item)][:4] == [
        "begin",
        "1-0",
        "1-1",
        "1-2",
    ]
    [rewind] = [e for e in reader.events if isinstance(e, Rewind)]
    assert (rewind.reason, rewind.attempt) == ("attempt", 2)
    assert [data for _, data in settled(reader)] == [
        "begin",
        "before",
        "between",
        "2-0",
        "2-1",
        "2-2",
        "end",
    ]
    assert [type(e) for e in reader.events[-3:]] == [Item, Item, End]


def not_first(word: str) -> bool:
    attempt, _, number = word.partition("-")
    return number == "2" and int(attempt) > 1


async def test_zombie_that_wakes_up_after_its_successor_is_fenced(
    client: Client, stream_server: StreamServer, unique: Any
) -> None:
    """The first worker is stopped, as by a debugger or a paused machine, then goes on."""
    workflow_id = await start_teller(client, unique("teller"))
    stream = WorkflowStreamClient.create(client, workflow_id)
    worker = ("worker_process", stream_server.address, workflow_id)
    async with reading(stream) as reader, running(*worker) as zombie:
        await reader.until(lambda: any(data == "1-2" for _, data in reader.items))
        zombie.signal(signal.SIGSTOP)
        async with running(*worker):
            await reader.until(lambda: not_first(reader.items[-1][1]))
            zombie.signal(signal.SIGCONT)
            zombie.tell("go on")
            await zombie.said("fenced")
            await client.get_workflow_handle(workflow_id).signal(Teller.finish)
            await client.get_workflow_handle(workflow_id).result()
    told = [data for _, data in settled(reader)]
    # The stopped process may have swallowed some attempts whole.
    attempt = told[1].partition("-")[0]
    assert int(attempt) > 1
    assert told == ["begin", *(f"{attempt}-{n}" for n in range(3)), "end"]
    # On a busy machine, attempts after the first may be given up as well.
    rewinds = [e for e in reader.events if isinstance(e, Rewind)]
    attempts = [rewind.attempt for rewind in rewinds]
    assert attempts == sorted(set(attempts))
    assert attempts[-1] == int(attempt)
    superseded = [o for rewind in rewinds for part in rewind.ranges for o in part]
    own = ("begin", "end", *told[1:-1])
    early = [(offset, data) for offset, data in reader.items if data not in own]
    assert [offset for offset, _ in early] == superseded
    first = [(offset, data) for offset, data in early if data.startswith("1-")]
    assert [data for _, data in first][:3] == ["1-0", "1-1", "1-2"]
    assert not any("late" in data for _, data in first)
    assert isinstance(reader.events[-1], End)
