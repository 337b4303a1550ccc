"""What ``EventSource`` needs to be told of a refusal: 200 and an event, if it is to come back.

``EventSource`` gives up for good on any answer that is not 200 with an event stream, and the page
learns nothing but that. So where coming back helps (503, 502, 429, a workflow that has not been
started), it gets a short event stream: when to come back, what is the matter, and the end. Other
clients get the status, which they know how to deal with.
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
"""Says how a client wants to be told of refusals, whatever its header fields look like."""
AS_EVENTS, AS_STATUS = "events", "status"

EVENT_HEADERS = (
    ("content-type", SSE_TYPE),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
)

# Clients that are sent away at once should not all come back at once.
_SPREAD = 0.5


def is_event_source(scope: Scope) -> bool:
    """Whether the request comes from an ``EventSource``, as far as it says.

    The parameter ``errors`` says it outright. Else it shows by the header fields that the
    standards have ``EventSource`` send: ``Accept: text/event-stream`` (HTML, 9.2.2), and
    ``Cache-Control: no-cache`` or ``Pragma: no-cache``, which its cache mode, "no-store", comes to
    (Fetch, 4.6). The clients of Durable Streams send the first at most, and httpx-sse
    ``Cache-Control: no-store``.
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
    """Return an event stream that tells of a refusal; None if its status is to tell.

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
        fields: What there is to tell.
        place: Where the client is to go on, as the text of an ``offset``. Without it, or if that
            is "now", the event has no id, so that ``EventSource`` resumes where it was.
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
