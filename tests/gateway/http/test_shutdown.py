"""The end of a gateway: viewers and writers go on at another, with nothing lost or double."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Callable
from typing import Any

import httpx

from workflow_streams.testing.fixtures import StreamServer

from .events import Event, data_of
from .serving import metric, running_gateway
from .test_events import follow
from .tokens import number, token

Unique = Callable[[str], str]

VIEWERS, WRITERS = 12, 4
BEFORE, AFTER = 40, 15  # items seen by each viewer, items written by each writer


class Viewer:
    """Follows a stream from gateway to gateway until it is closed."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.endings: list[str] = []

    async def run(self, http: httpx.AsyncClient, urls: list[str]) -> None:
        offset = "-1"
        for url in itertools.chain(urls[:1], itertools.repeat(urls[1])):
            async with follow(http, url, offset) as source:
                async for event in source.events():
                    if event.kind == "data":
                        self.seen += event.json
                    else:
                        offset = event.json["streamNextOffset"]
                        assert number(offset) == len(self.seen)
                        last = event.json
            if "streamClosed" in last:
                return
            self.endings.append(last["closing"])


class Writer:
    """Writes numbered items to the first gateway that takes them, each until it is taken."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.taken: list[tuple[int, str]] = []  # where, and what
        self.failures = 0

    async def run(self, http: httpx.AsyncClient, urls: list[str]) -> None:
        at = 0
        while sum(where == 1 for where, _ in self.taken) < AFTER:
            item = f"{self.name} {len(self.taken)}"
            headers = {
                "producer-id": self.name,
                "producer-epoch": "0",
                "producer-seq": str(len(self.taken)),
            }
            try:
                answer = await http.post(urls[at], headers=headers, json=[item])
            except httpx.TransportError:
                self.failures += 1
                at = 1
                continue
            assert answer.status_code in (200, 204), answer.text
            self.taken.append((at, item))


async def test_sigterm_under_load_costs_nobody_an_item(
    stream_server: StreamServer, unique: Unique
) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=WRITERS)
    with (
        running_gateway(stream_server.address) as leaving,
        running_gateway(stream_server.address) as staying,
    ):
        name = unique("stream")
        urls = [leaving.stream(name), staying.stream(name)]
        viewers = [Viewer() for _ in range(VIEWERS)]
        writers = [Writer(f"writer-{number}") for number in range(WRITERS)]
        async with httpx.AsyncClient(timeout=100, limits=limits) as http:
            await http.put(urls[0], headers={"content-type": "application/json"})
            async with asyncio.TaskGroup() as viewing:
                for viewer in viewers:
                    viewing.create_task(viewer.run(http, urls))
                async with asyncio.TaskGroup() as writing:
                    for writer in writers:
                        writing.create_task(writer.run(http, urls))
                    while min(len(viewer.seen) for viewer in viewers) < BEFORE:
                        await asyncio.sleep(0.01)
                    log = await asyncio.to_thread(leaving.end, signal.SIGTERM)
                closed = await http.post(urls[1], headers={"stream-closed": "true"})
                assert closed.status_code == 204
            stream = (await http.get(urls[1])).json()
    assert "Traceback" not in log
    assert leaving.process.returncode in (0, -signal.SIGTERM)
    for writer in writers:
        # It was writing when the gateway went.
        assert {where for where, _ in writer.taken} == {0, 1}
        assert writer.failures
        own = [item for item in stream if item.startswith(f"{writer.name} ")]
        assert own == [item for _, item in writer.taken]
    assert len(stream) == sum(len(writer.taken) for writer in writers)
    for viewer in viewers:
        assert viewer.seen == stream
        assert viewer.endings == ["shutdown"]


async def test_on_sigterm_every_viewer_gets_a_place_to_resume_at(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    with running_gateway(stream_server.address) as gateway:
        url = gateway.stream(unique("stream"))
        await http.put(url, json=[1, 2, 3])

        async def view() -> list[Event]:
            async with follow(http, url) as source:
                return await source.rest()

        viewers = [asyncio.create_task(view()) for _ in range(10)]
        polls = [
            asyncio.create_task(http.get(url, params={"offset": "now", "live": "long-poll"}))
            for _ in range(3)
        ]
        while await metric(http, gateway, "workflow_streams_viewers{", "") < 13:
            await asyncio.sleep(0.05)
        ending = asyncio.create_task(asyncio.to_thread(gateway.end, signal.SIGTERM))
        for story in await asyncio.wait_for(asyncio.gather(*viewers), 100):
            assert data_of(story) == [1, 2, 3]
            assert story[-1].json["closing"] == "shutdown"
            assert story[-1].json["streamNextOffset"] == token(3)
        for answer in await asyncio.wait_for(asyncio.gather(*polls), 100):
            assert answer.status_code == 204
            assert answer.headers["stream-next-offset"] == token(3)
        log = await ending
        assert "Traceback" not in log
        assert gateway.process.returncode in (0, -signal.SIGTERM)
