"""What bodies become takes the gateway's room, of which one client has a part only."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from temporalio.client import Client

from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.gateway.refusals import NoRoomForWriteError
from workflow_streams.gateway.writing import room as rooms
from workflow_streams.gateway.writing.room import WriteRoom
from workflow_streams.testing.fixtures import StreamServer

from ..http.serving import running_gateway
from .test_bodies import highest, until
from .wire import serving

Unique = Callable[[str], str]
MEBIBYTE = 1024 * 1024
JSON = {"content-type": "application/json"}


@pytest.fixture
def _no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms in which a write takes as much as its entries have."""
    monkeypatch.setattr(rooms, "_COPIES", 0)
    monkeypatch.setattr(rooms, "_SMALL_BYTES", 0)


class Writer:
    """A write that takes room for as long as the test says."""

    def __init__(self, room: WriteRoom, client: str, size: int, order: list[str]) -> None:
        self.name = f"{client} {size}"
        self.done = asyncio.Event()
        self.task = asyncio.create_task(self._write(room, client, size, order))

    async def _write(self, room: WriteRoom, client: str, size: int, order: list[str]) -> None:
        async with room.taken(client, size):
            order.append(self.name)
            await self.done.wait()

    async def end(self) -> None:
        self.done.set()
        await self.task


async def turns() -> None:
    """Let everything that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("_no_copies")
async def test_one_client_has_a_part_of_the_room_and_others_go_on() -> None:
    room, order = WriteRoom(400), list[str]()
    first = [Writer(room, "a", size, order) for size in (60, 40, 30, 20)]
    other = Writer(room, "b", 100, order)
    await turns()
    assert order == ["a 60", "a 40", "b 100"]
    assert (room.held, room.waiting, room.clients) == (200, 2, 2)
    # The second one of those that wait has to let the first one go before it.
    await first[1].end()
    await turns()
    assert order[3:] == ["a 30"]
    await first[0].end()
    await turns()
    assert order[4:] == ["a 20"]
    for writer in (*first[2:], other):
        await writer.end()
    assert (room.held, room.waiting, room.clients) == (0, 0, 0)


@pytest.mark.usefixtures("_no_copies")
async def test_those_that_wait_are_let_in_by_turns() -> None:
    room, order = WriteRoom(400), list[str]()
    full = [Writer(room, f"full {number}", 100, order) for number in range(4)]
    await turns()
    waiting = [
        Writer(room, "a", 51, order),
        Writer(room, "a", 52, order),
        Writer(room, "b", 53, order),
        Writer(room, "c", 90, order),
    ]
    await turns()
    assert len(order) == 4
    for writer in full[:2]:
        await writer.end()
        await turns()
    # All four would not fit, and "a" has had its part before "c" comes.
    assert order[4:] == ["a 51", "b 53", "c 90"]
    for writer in (*full[2:], *waiting):
        await writer.end()
    assert order[7:] == ["a 52"]
    assert (room.held, room.waiting, room.clients) == (0, 0, 0)


@pytest.mark.usefixtures("_no_copies")
async def test_what_is_larger_than_the_room_is_let_in_alone() -> None:
    room, order = WriteRoom(400), list[str]()
    small = Writer(room, "a", 10, order)
    large = Writer(room, "b", 500, order)
    behind = Writer(room, "a", 20, order)
    await turns()
    # What came later does not get ahead of it.
    assert order == ["a 10"]
    await small.end()
    await turns()
    assert order == ["a 10", "b 500"]
    await large.end()
    await turns()
    assert order == ["a 10", "b 500", "a 20"]
    await behind.end()
    assert room.held == 0


@pytest.mark.usefixtures("_no_copies")
async def test_a_write_that_stops_waiting_makes_way_for_those_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room, order = WriteRoom(400), list[str]()
    first = Writer(room, "a", 300, order)
    leaves = Writer(room, "b", 200, order)
    behind = Writer(room, "c", 50, order)
    await turns()
    assert order == ["a 300"]
    leaves.task.cancel()
    await turns()
    assert order == ["a 300", "c 50"]
    monkeypatch.setattr(rooms, "_WAIT_SECONDS", 0)
    with pytest.raises(NoRoomForWriteError):
        async with room.taken("b", 200):
            pass
    assert (room.held, room.waiting) == (350, 0)
    # One that is let in and cancelled at the same time gives back what it has been given.
    monkeypatch.setattr(rooms, "_WAIT_SECONDS", 100)
    cancelled = Writer(room, "b", 200, order)
    await turns()
    first.done.set()
    await first.task
    cancelled.task.cancel()
    await asyncio.wait([cancelled.task])
    await behind.end()
    assert (room.held, room.waiting, room.clients) == (0, 0, 0)


@pytest.mark.usefixtures("_no_copies")
async def test_a_write_gives_back_what_it_turns_out_not_to_need() -> None:
    room, order = WriteRoom(400), list[str]()
    async with room.taken("a", 100) as share:
        waiting = Writer(room, "a", 50, order)
        await turns()
        assert order == []
        share.settle(50)
        await turns()
        assert order == ["a 50"]
        share.settle(300)  # an estimate is never too low
        assert room.held == 100
        await waiting.end()
    assert (room.held, room.clients) == (0, 0)


async def test_small_writes_take_no_room() -> None:
    room = WriteRoom(1)
    async with AsyncExitStack() as stack:
        for _ in range(10):
            await stack.enter_async_context(room.taken("a", 4096))
        assert (room.held, room.waiting, room.clients) == (0, 0, 0)


@asynccontextmanager
async def serving_streams(
    client: Client, queue: str
) -> AsyncIterator[tuple[WriteRoom, str, httpx.AsyncClient]]:
    """Serve a gateway of this process; yield its room, where its streams are, and a client."""
    app = create_app(client, GatewaySettings(host_task_queue=queue))
    async with serving(app, lifespan="on") as port, httpx.AsyncClient(timeout=100) as http:
        yield app.state.gateway.writes, f"http://127.0.0.1:{port}/v1/stream/", http


async def test_all_that_writes_waits_for_room_and_is_refused_without(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, made, fork = unique("stream"), unique("made"), unique("fork")
    values = list(range(1000))
    many = json.dumps(values)
    async with serving_streams(client, unique("queue")) as (room, url, http):
        assert (await http.put(url + name, headers=JSON)).status_code == 201
        forking = {"stream-forked-from": f"/v1/stream/{name}"}

        async def write_all() -> list[int]:
            asked = [
                http.post(url + name, headers=JSON, content=many),
                http.put(url + made, headers=JSON, content=many),
                http.put(url + fork, headers=JSON | forking),
            ]
            answers = [await one for one in asked]
            refused = [answer for answer in answers if answer.status_code == 503]
            assert {answer.headers["retry-after"] for answer in refused} <= {"1"}
            assert all("room" in answer.json()["detail"] for answer in refused)
            return [answer.status_code for answer in answers]

        async with room.taken("others", 128 * MEBIBYTE):
            monkeypatch.setattr(rooms, "_WAIT_SECONDS", 0)
            assert await write_all() == [503, 503, 503]
            assert (await http.post(url + name, json=["small"])).status_code == 204
            for other in (made, fork):
                assert (await http.head(url + other)).status_code == 404
            # Those that wait go on as soon as there is room.
            monkeypatch.setattr(rooms, "_WAIT_SECONDS", 100)
            writing = asyncio.create_task(write_all())
            await until(lambda: room.waiting == 1)
        assert await writing == [204, 201, 201]
        assert (await http.get(url + name)).json() == ["small", *values]
        assert (await http.get(url + made)).json() == values
        assert (await http.get(url + fork)).json() == ["small", *values]
        await until(lambda: room.held == 0)


async def test_an_address_that_has_its_part_in_work_does_not_hold_up_others(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "_WAIT_SECONDS", 0)
    name, many = unique("stream"), list(range(1000))
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with (
        serving_streams(client, unique("queue")) as (room, url, http),
        httpx.AsyncClient(timeout=100, transport=elsewhere) as other,
    ):
        assert (await http.put(url + name, headers=JSON)).status_code == 201
        async with room.taken("address 127.0.0.1", 32 * MEBIBYTE):
            assert (await http.post(url + name, json=many)).status_code == 503
            assert (await other.post(url + name, json=many)).status_code == 204
        assert (await http.post(url + name, json=many)).status_code == 204
        assert (await http.get(url + name)).json() == many * 2


@pytest.mark.processes
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_many_bodies_of_small_values_do_not_take_more_memory_than_there_is_room(
    stream_server: StreamServer, unique: Unique, method: str
) -> None:
    """Each of them became 2 MB, and took 12 MB while it waited, however many there were."""
    values = [0] * 30_000
    body = json.dumps(values, separators=(",", ":")).encode()
    assert len(body) < 64 * 1024
    limits = {"max_total_write_bytes": 64 * MEBIBYTE}
    most = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(timeout=100, limits=most) as http:
        with running_gateway(stream_server.address, limits=limits) as gateway:
            names = [unique("stream") for _ in range(8)]
            if method == "POST":
                for name in names:
                    assert (await http.put(gateway.stream(name), headers=JSON)).status_code == 201
            else:
                names = [unique("stream") for _ in range(150)]
            before = highest(gateway)
            answers = await asyncio.gather(
                *(
                    http.request(
                        method, gateway.stream(names[i % len(names)]), headers=JSON, content=body
                    )
                    for i in range(150)
                )
            )
            assert highest(gateway) - before < 400 * MEBIBYTE
            statuses = Counter(answer.status_code for answer in answers)
            taken = statuses.pop(204 if method == "POST" else 201)
            assert taken
            assert set(statuses) <= {503}
            heads = [await http.head(gateway.stream(name)) for name in names]
            items = sum(
                int(head.headers["stream-next-offset"].partition("_")[0])
                for head in heads
                if head.status_code == 200
            )
            assert items >= taken * len(values)
