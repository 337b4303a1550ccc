"""Signed URLs of a real gateway, followed without a header."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from ..http.serving import GatewayProcess
from .gated import JSON, Bearer, bearer, following, in_, problem, publish, reader_of, until_closing


async def sign(
    gateway: GatewayProcess, http: httpx.AsyncClient, headers: Bearer, **wanted: Any
) -> httpx.Response:
    return await http.post(f"{gateway.url}/v1/sign", headers=headers, json=wanted)


async def test_a_signed_url_is_followed_without_a_header_until_it_expires(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    answer = await sign(
        gateway, http, reader_of(stream, "a"), workflow_id=stream, seconds=3, live="sse"
    )
    assert answer.headers["cache-control"] == "no-store"
    signed = answer.json()
    url = gateway.url + signed["url"]
    async with following(http, url) as events:
        await publish(http, gateway, stream, range(6, 8))
        items, told = await until_closing(events)
    assert items == [0, 2, 4, 6]
    assert told["closing"] == "expired"
    assert time.time() >= signed["expires_at"] - 0.1
    problem(await http.get(url), 401, "expired-credentials")
    # Renewed, it goes on where it was.
    place = told["streamNextOffset"]
    again = await sign(gateway, http, reader_of(stream), workflow_id=stream, offset=place)
    url = gateway.url + again.json()["url"]
    assert (await http.get(url)).json() == []
    await publish(http, gateway, stream, [8])
    assert (await http.get(url)).json() == [8]


async def test_a_signed_url_cannot_be_turned_to_anything_else(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    answer = await sign(gateway, http, reader_of(stream, "a"), workflow_id=stream, topics=["a"])
    url = gateway.url + answer.json()["url"]
    assert (await http.get(url)).json() == [0, 2, 4]
    later = url.replace("offset=-1", f"offset={2:020d}")
    assert (await http.get(later)).json() == [2, 4]
    for changed in (f"{url}&topic=b", url.replace("topic=a", "topic=b")):
        problem(await http.get(changed), 403, "forbidden")
    assert (await http.get(url.replace("topic=a&", ""))).json() == [0, 2, 4]
    problem(await http.get(url.replace(stream, stream + "x")), 403, "forbidden")
    problem(await http.get(url[:-1] + ("A" if url[-1] != "A" else "B")), 401, "invalid-credentials")
    problem(await http.post(url, headers=JSON, content="1"), 403, "forbidden")
    problem(await http.post(url.replace("?", "/cancel?")), 403, "forbidden")
    problem(await http.delete(url), 403, "forbidden")
    query = url.partition("?")[2]
    for path in ("/v1/streams", "/metrics"):
        problem(await http.get(f"{gateway.url}{path}?{query}"), 403, "forbidden")
    again = await http.post(f"{gateway.url}/v1/sign?{query}", json={"workflow_id": stream})
    problem(again, 403, "forbidden")
    problem(await http.get(url, headers=bearer()), 400, "ambiguous-credentials")


async def test_one_signs_what_one_may_read_and_no_more(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    only_a = reader_of(stream, "a", exp=in_(60))
    for wanted in ({"workflow_id": "other"}, {"workflow_id": stream, "topics": ["b"]}):
        problem(await sign(gateway, http, only_a, **wanted), 403, "forbidden")
    writer = bearer([{"ids": [stream], "actions": ["write", "cancel"]}])
    problem(await sign(gateway, http, writer, workflow_id=stream), 403, "forbidden")
    problem(await sign(gateway, http, only_a, workflow_id="a/../b"), 400, "invalid-workflow-id")
    signed = (await sign(gateway, http, only_a, workflow_id=stream, seconds=1e9)).json()
    assert signed["expires_at"] <= in_(60)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"workflow_id": 7}', b'{"workflow_id": "a", "x": 1}',
     b'{"workflow_id": "a", "topics": "a"}', b'{"workflow_id": "a", "topics": [1]}',
     b'{"workflow_id": "a", "seconds": "1"}', b'{"workflow_id": "a", "seconds": 0}',
     b'{"workflow_id": "a", "seconds": true}', b'{"workflow_id": "a", "seconds": NaN}',
     b'{"workflow_id": "a", "seconds": Infinity}', b'{"workflow_id": "a", "live": "ws"}',
     b'{"workflow_id": "a", "offset": 7}', b'{"workflow_id": "a", "offset": "7;x"}',
     b"\xff", b"[" * 60_000],
)  # fmt: skip
async def test_a_malformed_wish_to_sign_is_refused(
    gateway: GatewayProcess, http: httpx.AsyncClient, body: bytes
) -> None:
    answer = await http.post(f"{gateway.url}/v1/sign", headers=bearer(), content=body)
    problem(answer, 400, "invalid-request")
    large = await http.post(f"{gateway.url}/v1/sign", headers=bearer(), content=b"x" * 70_000)
    problem(large, 413, "body-too-large")
