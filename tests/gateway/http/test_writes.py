"""POST, PUT, DELETE and cancel: what is answered agrees with what stands in the log."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Replayer

from tests.dense import dense
from workflow_streams import WorkflowStreamClient
from workflow_streams.hosted.host import (
    HOST_WORKFLOW,
    HostInput,
    HostSetup,
    WorkflowStreamHost,
)
from workflow_streams.log.wire import SETUP_MEMO_KEY
from workflow_streams.testing.fixtures import StreamServer

from .hosts import ended, hosting
from .serving import HOST_QUEUE, GatewayProcess, running_gateway
from .tokens import number as offset_in
from .tokens import token

Unique = Callable[[str], str]
JSON = {"content-type": "application/json"}
TEXT = {"content-type": "text/plain"}


async def test_json_is_published_to_a_topic_of_a_workflows_stream(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    url = gateway.stream(name)
    async with hosting(client, "Talks", name):
        first = await http.post(url, headers=JSON, content=b'{"n" : 1.10}')
        assert (first.status_code, first.headers["stream-next-offset"]) == (204, token(1))
        body = b' [ 1e2 ,[2, 3],\n"x"] '
        second = await http.post(url, params={"topic": "t"}, headers=JSON, content=body)
        assert second.headers["stream-next-offset"] == token(4)
        # The library's readers get them like any other item.
        stream = WorkflowStreamClient.create(client, name)
        items = []
        async for item in stream.subscribe():
            items.append((item.offset, item.topic, item.data))
            if len(items) == 4:
                break
        assert items == [
            (0, "default", {"n": 1.1}),
            (1, "t", 100.0),
            (2, "t", [2, 3]),
            (3, "t", "x"),
        ]
        text = (await http.get(url)).text
        assert '"data":{"n" : 1.10}}' in text
        assert '"data":1e2}' in text

        wrong: list[tuple[int, dict[str, Any]]] = [
            (400, {"content": b""}),
            (400, {"content": b"[]", "headers": JSON}),
            (400, {"content": b"{", "headers": JSON}),
            (400, {"content": b"1"}),
            (400, {"json": 1, "params": {"topic": ["a", "b"]}}),
            (409, {"content": b"1", "headers": TEXT}),
            (405, {"headers": {"stream-closed": "true"}}),
        ]
        for status, request in wrong:
            assert (await http.post(url, **request)).status_code == status, request
        assert (await http.put(url, headers=JSON)).status_code == 409
        assert (await http.delete(url)).status_code == 405
        assert await stream.get_offset() == 4


async def test_a_large_body_is_read_back_as_one_and_a_larger_one_is_refused(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    body = random.Random(1).randbytes(10 * 1024 * 1024)
    made = await http.put(url, headers={"content-type": "application/x-thing"}, content=b"begin")
    assert made.status_code == 201
    headers = {"content-type": "application/x-thing"}
    sent = await http.post(url, headers=headers, content=body)
    assert (sent.status_code, sent.headers["stream-next-offset"]) == (204, token(2))
    read = await http.get(url, params={"offset": token(1)})
    assert read.content == body
    assert read.headers["stream-next-offset"] == token(2)

    over = await http.post(url, headers=headers, content=body + body)
    assert over.status_code == 413
    assert over.headers["content-type"] == "application/problem+json"
    assert (await http.head(url)).headers["stream-next-offset"] == token(2)

    # The same as a stream's first content.
    other, part = new_stream(), body[: 2 * 1024 * 1024]
    made = await http.put(other, headers=headers, content=part)
    assert (made.status_code, made.headers["stream-next-offset"]) == (201, token(1))
    assert (await http.get(other)).content == part


@pytest.mark.parametrize("path", ["a/b/{}", "a%2Fb%20c/{}", "é-{}?x=1", "{}%2Fcancel", "s.p-_~{}"])
async def test_ids_with_slashes_and_escapes_are_one_stream_from_put_to_delete(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Unique, path: str
) -> None:
    url = gateway.stream(path.format(unique("id")))
    made = await http.put(url, headers=TEXT)
    assert made.status_code == 201
    location = httpx.URL(made.headers["location"])
    for part in "ab":
        assert (await http.post(location, headers=TEXT, content=part)).status_code == 204
    assert (await http.get(url)).text == "ab"
    assert (await http.delete(url)).status_code == 204
    assert (await http.get(location)).status_code == 404


async def test_a_name_is_free_again_as_soon_as_its_stream_is_deleted(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    for content in ("one", "two", "three"):
        made = await http.put(url, headers=TEXT, content=content)
        assert (made.status_code, made.headers["stream-next-offset"]) == (201, token(1))
        closing = {"stream-closed": "true"} if content == "two" else {}
        await http.post(url, headers={**TEXT, **closing}, content="!")
        assert (await http.get(url)).text == f"{content}!"
        assert (await http.delete(url)).status_code == 204
        for method in ("GET", "HEAD", "POST", "DELETE"):
            body = {"content": b"x", "headers": TEXT} if method == "POST" else {}
            assert (await http.request(method, url, **body)).status_code == 404, method


async def test_a_put_that_broke_off_is_completed_by_the_next_one_and_only_once(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("stream")
    setup = HostSetup("text/plain", initial=True)
    await client.start_workflow(
        HOST_WORKFLOW,
        HostInput(setup),
        id=name,
        task_queue=HOST_QUEUE,
        memo={SETUP_MEMO_KEY: setup},
    )
    url = gateway.stream(name)
    for _ in range(3):
        made = await http.put(url, headers=TEXT, content="content")
        assert made.status_code == 200
        assert made.headers["stream-next-offset"] == token(1)
    assert (await http.get(url)).text == "content"


async def test_puts_at_once_make_one_stream(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    answers = await asyncio.gather(
        *(http.put(url, headers=TEXT, content="content") for _ in range(8))
    )
    assert Counter(a.status_code for a in answers) == {201: 1, 200: 7}
    assert (await http.get(url)).text == "content"


async def test_a_cancelled_workflow_ends_its_stream(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    url = gateway.stream(name)
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("count", args=[0, 2])
        assert (await http.post(url + "/cancel")).status_code == 202
        await ended(talks)
        described = await talks.describe()
        assert described.status == WorkflowExecutionStatus.CANCELED
    answer = await http.get(url)
    assert answer.headers["stream-outcome"] == "canceled"
    assert len(answer.json()) == 2
    again = await http.post(url + "/cancel")
    assert (again.status_code, again.headers["stream-closed"]) == (409, "true")


async def test_two_gateways_that_write_at_once_give_answers_that_agree_with_the_log(
    gateway: GatewayProcess, stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    """Each batch is sent to both, as a client does that has lost an answer."""
    name = unique("stream")
    with running_gateway(stream_server.address, host_worker=False) as other:
        urls = [gateway.stream(name), other.stream(name)]
        await http.put(urls[0], headers=JSON)

        async def write(producer: str) -> dict[str, str]:
            """Return the offset after each batch that was accepted."""
            taken: dict[str, str] = {}
            for number in range(12):
                item = f"{producer} {number}"
                headers = {
                    "producer-id": producer,
                    "producer-epoch": "0",
                    "producer-seq": str(number),
                }
                answers = await asyncio.gather(
                    *(http.post(url, headers=headers, json=[item]) for url in urls)
                )
                assert sorted(a.status_code for a in answers) == [200, 204], item
                for answer in answers:
                    assert answer.headers["producer-seq"] == str(number)
                    if answer.status_code == 200:
                        taken[item] = answer.headers["stream-next-offset"]
            return taken

        async def race(key: int) -> int:
            """Return how many of two writers with the same ordering key were let in."""
            answers = await asyncio.gather(
                *(
                    http.post(url, headers={"stream-seq": f"{key:04d}"}, json=[f"key {key}"])
                    for url in urls
                )
            )
            assert {a.status_code for a in answers} <= {204, 409}
            return sum(a.status_code == 204 for a in answers)

        async def races() -> list[int]:
            return [await race(key) for key in range(8)]

        *taken, won = await asyncio.gather(*(write(f"writer {i}") for i in range(4)), races())
        log = [(await http.get(url)).json() for url in urls]
    assert log[0] == log[1]
    for offsets in taken:
        for item, after in offsets.items():
            assert log[0][offset_in(after) - 1] == item
    assert sorted(log[0]) == sorted(
        [item for offsets in taken for item in offsets] + [f"key {key}" for key in range(8)]
    )
    assert won == [1] * 8


async def test_a_body_that_is_said_to_be_compressed_is_refused(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Unique
) -> None:
    """It is not unpacked, and readers would get it as it came."""
    url = gateway.stream(unique("stream"))
    zipped = {**JSON, "content-encoding": "gzip"}
    for _ in range(2):
        assert (await http.put(url, headers=zipped, content=b"[1]")).status_code == 400
        refused = await http.post(url, headers=zipped, content=b"[1]")
        assert refused.status_code == 400
        assert "Content-Encoding" in refused.json()["detail"]
        plain = {**JSON, "content-encoding": "identity"}
        assert (await http.put(url, headers=plain)).status_code in (200, 201)
    assert (await http.post(url, headers=plain, content=b"[2]")).status_code == 204
    assert await read_all(http, url) == [2]


async def test_a_hosted_stream_rolls_over_with_nothing_lost_or_double(
    gateway: GatewayProcess,
    stream_server: StreamServer,
    http: httpx.AsyncClient,
    client: Client,
    unique: Unique,
) -> None:
    name = unique("stream")
    url = gateway.stream(name)
    await http.put(url, headers=JSON)
    handle = client.get_workflow_handle(name)
    runs = {(await handle.describe()).run_id}
    offsets: dict[int, int] = {}
    numbers = iter(range(2000))
    filling = dense(150_000)  # the server suggests a rollover by bytes as well

    async def write() -> None:
        for number in numbers:
            answer = await http.post(url, json=[[number, filling]])
            assert answer.status_code == 204
            offsets[number] = offset_in(answer.headers["stream-next-offset"]) - 1
            runs.add((await handle.describe()).run_id)
            if len(runs) == 3:
                return

    await asyncio.gather(*(write() for _ in range(8)))
    # One gateway has followed it all along, the other one has to find its way through the runs.
    with running_gateway(stream_server.address, host_worker=False) as other:
        for reader in (gateway, other):
            log = [number for number, _ in await read_all(http, reader.stream(name))]
            assert {number: offset for offset, number in enumerate(log)} == offsets
            assert len(log) == len(offsets)
        late = await http.get(other.stream(name), params={"offset": token(len(log) - 3)})
        assert [number for number, _ in late.json()] == log[-3:]
    for run_id in runs:
        await replay(client, name, run_id)


async def replay(client: Client, name: str, run_id: str | None = None) -> None:
    """See that the host's code does the same again on its history."""
    history = await client.get_workflow_handle(name, run_id=run_id).fetch_history()
    await Replayer(workflows=[WorkflowStreamHost]).replay_workflow(history)


async def read_all(http: httpx.AsyncClient, url: str) -> list[Any]:
    """Read page by page, up to the head."""
    items: list[Any] = []
    offset = "-1"
    while True:
        answer = await http.get(url, params={"offset": offset})
        items += answer.json()
        offset = answer.headers["stream-next-offset"]
        if "stream-up-to-date" in answer.headers:
            return items


async def test_an_expired_fork_is_not_counted_any_more(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    names = unique("source"), unique("fork")
    source, fork = map(gateway.stream, names)
    await http.put(source, headers=TEXT, content="content")
    headers = {"stream-forked-from": httpx.URL(source).path, "stream-ttl": "1"}
    assert (await http.put(fork, headers=headers)).status_code == 201
    assert (await http.delete(source)).status_code == 204
    assert (await http.head(source)).status_code == 410
    assert (await http.get(fork)).text == "content"
    while (await http.head(fork)).status_code != 404:
        await asyncio.sleep(0.1)
    while (await http.head(source)).status_code != 404:
        await asyncio.sleep(0.05)
    for name in names:
        await replay(client, name)
    assert (await http.put(source, headers=TEXT)).status_code == 201
