"""Answers refused requests from within middleware, where there is no handler to return them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from starlette.types import Message, Scope, Send

from .event_sources import EVENT_HEADERS, told_by_events
from .refused import RefusedError


class Sending:
    """Passes an answer on, and records whether it has begun: then no other can be sent."""

    def __init__(self, send: Send) -> None:
        """Pass messages on to ``send``."""
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        """Pass a message on."""
        self.started = True
        await self._send(message)


async def refuse(
    refusal: RefusedError,
    scope: Scope,
    send: Send,
    *,
    before_end: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Answer with problem+json (RFC 9457).

    Args:
        refusal: What to answer.
        scope: The request.
        send: Where to send it.
        before_end: Awaited after the answer's body has been sent, before the answer is completed.
            The next request on this connection has to wait for it.
    """
    note_refusal(scope, refusal)
    if (events := refusal_events(refusal, scope)) is not None:
        await _send_events(events, send)
        return
    body = b"" if scope["method"] == "HEAD" else problem_body(refusal, request_id_of(scope))
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *((name.encode(), value.encode()) for name, value in refusal.headers),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    if before_end is not None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await before_end()
        body = b""
    await send({"type": "http.response.body", "body": body})


async def _send_events(events: bytes, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in EVENT_HEADERS]
    headers.append((b"content-length", str(len(events)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": events})


def refusal_events(refusal: RefusedError, scope: Scope) -> bytes | None:
    """Return an event stream that tells ``EventSource`` to come back; None for other clients."""
    return told_by_events(refusal, scope, problem_fields(refusal, request_id_of(scope)))


def note_refusal(scope: Scope, refusal: RefusedError) -> None:
    """Record for the log and the metrics how the request was refused."""
    scope.setdefault("state", {})["refused"] = refusal.slug


def problem_fields(refusal: RefusedError, request_id: str = "") -> dict[str, object]:
    """Return a refusal as the members of a problem document."""
    problem: dict[str, object] = {
        "type": f"urn:workflow-streams:{refusal.slug}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.detail,
    }
    if request_id:
        problem["request_id"] = request_id
    return problem


def problem_body(refusal: RefusedError, request_id: str) -> bytes:
    """Return the JSON of a refusal."""
    return json.dumps(problem_fields(refusal, request_id)).encode()


def request_id_of(scope: Scope) -> str:
    """Return the request's id; empty if it has none."""
    request_id: str = scope.get("state", {}).get("request_id", "")
    return request_id
