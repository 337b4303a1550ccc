"""What a body becomes is known before any of it is sent: it stands there whole, or is refused."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator

import httpx
import pytest
from temporalio.client import Client, WorkflowHandle

from workflow_streams.errors import BatchTooLargeError
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.hosted import appends
from workflow_streams.log import wire
from workflow_streams.log.payloads import JSON_KIND
from workflow_streams.log.wire import Entry
from workflow_streams.publish import pacing

from ..security.wire import serving
from .hosts import hosting
from .serving import GatewayProcess
from .tokens import token

Unique = Callable[[str], str]
JSON = {"content-type": "application/json"}
BYTES = {"content-type": "application/octet-stream"}
MEBIBYTE = 1024 * 1024


async def signals(handle: WorkflowHandle[object, object]) -> int:
    """Return how many publish signals a run has got."""
    count = 0
    async for event in handle.fetch_history_events():
        attributes = event.workflow_execution_signaled_event_attributes
        count += attributes.signal_name == wire.PUBLISH_SIGNAL
    return count


async def test_many_small_values_that_make_more_than_a_run_holds_are_refused_at_once(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    """A body of 2 MB counts 55 MiB."""
    name, never = unique("stream"), unique("never")
    body = b"[" + b",".join([b"7"] * 1_000_000) + b"]"
    assert (await http.put(gateway.stream(name), headers=JSON)).status_code == 201
    sent = await http.post(gateway.stream(name), headers=JSON, content=body)
    assert sent.status_code == 413
    assert sent.json()["type"].endswith("too-large")
    assert "several requests" in sent.json()["detail"]
    assert "retry-after" not in sent.headers
    assert await signals(client.get_workflow_handle(name)) == 0
    # Nor does it make a stream without its content.
    made = await http.put(gateway.stream(never), headers=JSON, content=body)
    assert made.status_code == 413
    assert (await http.head(gateway.stream(never))).status_code == 404
    # As many as there is room for are taken as one.
    most = [7] * 200_000
    sent = await http.post(gateway.stream(name), headers=JSON, content=json.dumps(most))
    assert (sent.status_code, sent.headers["stream-next-offset"]) == (204, token(len(most)))


async def test_the_largest_body_is_taken(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    body = random.Random(1).randbytes(16 * MEBIBYTE)
    assert (await http.put(url, headers=BYTES)).status_code == 201
    sent = await http.post(url, headers=BYTES, content=body)
    assert (sent.status_code, sent.headers["stream-next-offset"]) == (204, token(1))
    assert (await http.get(url)).content == body


def incompressible() -> str:
    """Return a text that takes about a megabyte, however it is packed."""
    return base64.b64encode(random.randbytes(1_150_000)).decode()


async def test_what_a_run_has_no_room_for_now_is_not_begun(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "_FULL_BYTES", 4 * MEBIBYTE)
    name = unique("talks")
    app = create_app(client, GatewaySettings(host_task_queue=unique("queue"), host_worker=False))
    async with (
        hosting(client, "Talks", name) as handle,
        serving(app, lifespan="on") as port,
        httpx.AsyncClient(timeout=100) as http,
    ):
        url = f"http://127.0.0.1:{port}/v1/stream/{name}"
        for _ in range(2):
            sent = await http.post(url, json=[incompressible()])
            assert sent.status_code == 204
        before = await signals(handle)
        for _ in range(3):
            sent = await http.post(url, json=[incompressible(), incompressible()])
            assert (sent.status_code, sent.headers["retry-after"]) == (503, "1")
        assert await signals(handle) == before
        assert (await http.post(url, json=["there is room for that"])).status_code == 204


def test_entries_are_counted_as_they_are_made() -> None:
    made: list[int] = []

    def entries() -> Iterator[Entry]:
        for number in range(10**9):
            made.append(number)
            yield "t", JSON_KIND, b"x" * MEBIBYTE

    with pytest.raises(BatchTooLargeError):
        list(appends.in_bounds(entries()))
    assert len(made) == appends.MAX_BATCH_BYTES // MEBIBYTE
