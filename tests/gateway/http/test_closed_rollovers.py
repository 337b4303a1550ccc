"""A closed stream that goes on, for its time to live or its forks, rolls over and stays closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from temporalio.client import Client

from workflow_streams import End, WorkflowStreamClient, WorkflowStreamItem
from workflow_streams.embedded import EmbeddedServer
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.hosted.host import TOUCH_SIGNAL

from ...configured import DELETES_AT_ONCE, ROLLS_OVER_SOON, ConfiguredServer
from .serving import HOST_QUEUE
from .test_deletion import path_of, serving
from .test_writes import TEXT, replay, token

pytestmark = pytest.mark.processes

RUNS = 3


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    async with ConfiguredServer(DELETES_AT_ONCE, *ROLLS_OVER_SOON) as server:
        yield server


def producing(number: int) -> dict[str, str]:
    return {**TEXT, "producer-id": "p", "producer-epoch": "0", "producer-seq": str(number)}


async def test_a_closed_stream_rolls_over_and_all_see_its_end_and_its_verdicts(
    server: EmbeddedServer, unique: Callable[[str], str]
) -> None:
    name, fork = unique("stream"), unique("fork")
    client = await server.connect()
    apps = [
        create_app(c, GatewaySettings(host_task_queue=HOST_QUEUE, host_worker=works))
        for c, works in ((client, True), (await server.connect(), False))
    ]
    transports = [httpx.ASGITransport(app, client=("127.0.0.1", 1234)) for app in apps]
    async with (
        apps[0].router.lifespan_context(apps[0]),
        apps[1].router.lifespan_context(apps[1]),
        httpx.AsyncClient(transport=transports[0], base_url="http://127.0.0.1") as http,
        httpx.AsyncClient(transport=transports[1], base_url="http://127.0.0.1") as other,
    ):
        url = f"/v1/stream/{name}"
        assert (await http.put(url, headers={**TEXT, "stream-ttl": "3600"})).status_code == 201
        assert (await http.post(url, headers=producing(0), content="a")).status_code == 200
        closing = {**producing(1), "stream-closed": "true"}
        assert (await http.post(url, headers=closing, content="b")).status_code == 200
        runs = await rolled_over_by_touches(client, name)

        for reader in (http, other):
            whole = await reader.get(url)
            assert (whole.text, whole.headers["stream-closed"]) == ("ab", "true")
            for live in ("", "long-poll", "sse"):
                params = {"offset": token(2), **({"live": live} if live else {})}
                answer = await reader.get(url, params=params)
                told = answer.headers if live != "sse" else answer.text.replace('"', "")
                assert "stream-closed" in told or "streamClosed:true" in told
            head = (await reader.head(url)).headers
            assert (head["stream-closed"], head["stream-next-offset"][:20]) == ("true", token(2))
            # The verdicts are those of before, too.
            again = await reader.post(url, headers=closing, content="b")
            assert (again.status_code, again.headers["stream-closed"]) == (204, "true")
            late = await reader.post(url, headers=producing(2), content="c")
            assert (late.status_code, late.headers["stream-closed"]) == (409, "true")
        for offset in range(3):
            events = [
                event.data if isinstance(event, WorkflowStreamItem) else event
                async for event in WorkflowStreamClient.create(client, name).follow(
                    from_offset=offset, result_type=bytes
                )
            ]
            assert events == [*[b"a", b"b"][offset:], End("completed", 2, runs[0])]

        # So it goes on for its forks.
        made = await http.put(f"/v1/stream/{fork}", headers={"stream-forked-from": url})
        assert made.status_code == 201
        runs += await rolled_over_by_touches(client, name)
        assert (await http.delete(url)).status_code == 204
        runs += await rolled_over_by_touches(client, name)
        assert (await other.get(url)).status_code == 410
        assert (await other.get(f"/v1/stream/{fork}")).text == "ab"
        for run_id in runs:
            await replay(client, name, run_id)
        assert (await http.delete(f"/v1/stream/{fork}")).status_code == 204
        while (await other.get(url)).status_code != 404:
            await asyncio.sleep(0.05)


async def rolled_over_by_touches(client: Client, name: str) -> list[str]:
    """Tell the stream of reads until it has had some more runs; return all it has had."""
    handle = client.get_workflow_handle(name)
    runs: list[str] = []
    while len(runs) < RUNS:
        await handle.signal(TOUCH_SIGNAL)
        run_id = (await handle.describe()).run_id
        if run_id not in runs:
            runs.append(run_id)
    return runs


async def test_forks_are_made_and_deleted_while_their_source_rolls_over(
    server: EmbeddedServer, unique: Callable[[str], str]
) -> None:
    source = path_of(unique("source"))
    async with serving(server) as http:
        closed = {**TEXT, "stream-ttl": "3600", "stream-closed": "true"}
        assert (await http.put(source, headers=closed, content="x")).status_code == 201

        async def fork(number: int) -> None:
            url = f"{source}-{number}"
            made = await http.put(url, headers={"stream-forked-from": source})
            assert made.status_code == 201, made.text
            assert (await http.get(url)).text == "x"
            assert (await http.delete(url)).status_code == 204

        for start in range(0, 40, 8):
            async with asyncio.TaskGroup() as group:
                for number in range(start, start + 8):
                    group.create_task(fork(number))
