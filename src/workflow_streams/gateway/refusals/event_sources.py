"""Answers refused requests of ``EventSource`` with 200 and an event, if it should come back.

``EventSource`` gives up for good on any answer that is not 200 with an event stream, and its page
does not learn why. So where coming back helps (503, 502, 429, a workflow that has not been
started), it gets a short event stream that says when to come back and what the problem is, and then
ends. Other clients get the status, which they can deal with.
"""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Scope

from .refused import RefusedError

SSE_TYPE = "text/event-stream"
ERRORS_PARAMETER = "errors"
"""The query parameter by which a client chooses how to be told of refusals.

It takes precedence over the client's header fields.
"""
AS_EVENTS, AS_STATUS = "events", "status"

EVENT_HEADERS = (
    ("content-type", SSE_TYPE),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
)

# Clients that are sent away at the same time should not all come back at the same time.
_SPREAD = 0.5


def is_event_source(scope: Scope) -> bool:
    """Whether the request seems to come from an ``EventSource``.

    The parameter ``errors`` decides if it is there. Otherwise the request is recognised by the
    header fields that the standards require of ``EventSource``: ``Accept: text/event-stream``
    (HTML, 9.2.2), and ``Cache-Control: no-cache`` or ``Pragma: no-cache``, which follow from its
    cache mode, "no-store" (Fetch, 4.6). The clients of Durable Streams send no more than the first
    of these, and httpx-sse sends ``Cache-Control: no-store``.
    """
    if scope["method"] != "GET":
        return False
    query = _query(scope)
    if ERRORS_PARAMETER in query:
        return query[ERRORS_PARAMETER] == AS_EVENTS
    sent = {name: value.lower() for name, value in scope["headers"]}
    if sent.get(b"accept", b"").strip() != SSE_TYPE.encode():
        return False
    return b"no-cache" in sent.get(b"cache-control", b"") + sent.get(b"pragma", b"")


def told_by_events(refusal: RefusedError, scope: Scope, problem: dict[str, Any]) -> bytes | None:
    """Return an event stream that reports a refusal; None to answer with its status instead.

    Args:
        refusal: The refusal.
        scope: The request.
        problem: The members of its problem document.
    """
    if not (refusal.passes and is_event_source(scope)):
        return None
    retry = int(refusal.retry_seconds * 1000 * random.uniform(1, 1 + _SPREAD))
    comment = " ".join(f"{refusal.status} {refusal.title}: {refusal.detail}".split())
    place = "" if _asks_for_an_offset(scope) else refusal.resume_at
    return f": {comment}\nretry: {retry}\n".encode() + placed_event({"problem": problem}, place)


def placed_event(fields: dict[str, Any], place: str) -> bytes:
    """Return a control event of a stream that cannot be read yet.

    Args:
        fields: The fields of the event.
        place: Where the client has to resume, as the value of an ``offset``. If this is empty or
            "now", the event has no id, so that ``EventSource`` resumes where it was.
    """
    event_id = f"id: {place}\n" if place not in ("", "now") else ""
    data = json.dumps({"streamNextOffset": place, **fields} if place else fields,
                      separators=(",", ":"))  # fmt: skip
    return f"{event_id}event: control\ndata:{data}\n\n".encode()


def _asks_for_an_offset(scope: Scope) -> bool:
    if any(name == b"last-event-id" for name, _ in scope["headers"]):
        return True
    return _query(scope).get("offset", "")[:1].isdigit()


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1")))
