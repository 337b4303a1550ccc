"""A gateway with a login, a stream behind it, and the tokens for it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent

from ..http.serving import GatewayProcess
from .issuing import DO_ALL, token

SECRET = secrets.token_hex(32)
URL_KEY = secrets.token_hex(32)
ENVIRON = {
    "WORKFLOW_STREAMS_JWT_SECRET": SECRET,
    "WORKFLOW_STREAMS_URL_SIGNING_KEY": URL_KEY,
    "LOG_LEVEL": "INFO",
}
JSON = {"content-type": "application/json"}

Bearer = dict[str, str]


def bearer(streams: list[dict[str, Any]] = DO_ALL, **more: Any) -> Bearer:
    return {"authorization": f"Bearer {token(SECRET, streams=streams, **more)}"}


def reader_of(workflow_id: str, *topics: str, **more: Any) -> Bearer:
    rule: dict[str, Any] = {"ids": [workflow_id], "actions": ["read"]}
    return bearer([{**rule, "topics": list(topics)} if topics else rule], **more)


async def publish(
    http: httpx.AsyncClient, gateway: GatewayProcess, workflow_id: str, numbers: Any
) -> None:
    for n in numbers:
        url = f"{gateway.stream(workflow_id)}?topic={'ab'[n % 2]}"
        sent = await http.post(url, headers={**bearer(), **JSON}, content=str(n))
        assert sent.status_code == 204, sent.text


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["type"] == f"urn:workflow-streams:{kind}"
    assert told["request_id"] == answer.headers["x-request-id"]
    return told


@asynccontextmanager
async def following(
    http: httpx.AsyncClient, url: str, headers: Bearer | None = None
) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
    async with http.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield _told(EventSource(answer))


async def _told(source: EventSource) -> AsyncIterator[ServerSentEvent]:
    """The events that a browser would tell: those with data."""
    async for event in source.aiter_sse():
        if event.data:
            yield event


async def until_closing(events: AsyncIterator[ServerSentEvent]) -> tuple[list[int], dict[str, Any]]:
    """Return the items that come until a control event tells why the connection closes."""
    items: list[int] = []
    async for event in events:
        if event.event == "data":
            items += json.loads(event.data)
        elif "closing" in (told := json.loads(event.data)):
            rest = [later async for later in events]
            assert rest == []
            return items, told
    raise AssertionError(f"closed without a word after {items}")


def in_(seconds: float) -> int:
    """A time for `exp`, which has no fractions: at least so long from now."""
    return int(time.time() + seconds) + 1
