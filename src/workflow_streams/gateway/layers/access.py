"""The outermost layer: gives each request an id, logs it and counts it."""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..telemetry.logs import masked_query
from ..telemetry.metrics import Metrics

access_logger = logging.getLogger("workflow_streams.gateway.access")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=@-]{8,128}")
_UNROUTED = "unrouted"


def request_id_from(scope: Scope) -> str:
    """Return the client's ``X-Request-Id`` if it is there and well-formed, otherwise a new id.

    A well-formed id has 8 to 128 letters, digits and ``._:+/=@-``, so that nothing in it can break
    a log line or a header.
    """
    sent = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(sent) == 1 and _REQUEST_ID.fullmatch(sent[0]):
        return str(sent[0].decode("ascii"))
    return uuid.uuid4().hex


@dataclass(slots=True)
class _Answer:
    """What has been sent of an answer so far."""

    status: int = 0
    started_at: float = 0.0
    bytes: int = 0
    complete: bool = False


class AccessMiddleware:
    """Gives each request an id, writes its line in the access log, and counts it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap ``app``."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, then log and count how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_from(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        route_outside = scope.get("route")
        answer = _Answer()
        began = time.monotonic()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.started_at = message["status"], time.monotonic()
                named = (b"x-request-id", request_id.encode())
                message["headers"] = [*message.get("headers", ()), named]
            elif message["type"] == "http.response.body":
                answer.bytes += len(message.get("body", b""))
                answer.complete = not message.get("more_body", False)
            await send(message)

        with self._metrics.request():
            try:
                await self._app(scope, receive, sending)
            finally:
                route = _template(scope, route_outside)
                self._tell(scope, route, answer, began)

    def _tell(self, scope: Scope, route: str, answer: _Answer, began: float) -> None:
        state = scope["state"]
        refused = state.get("refused", "")
        if refused:
            self._metrics.refused.labels(refused).inc()
        if answer.status:
            seconds = answer.started_at - began
            self._metrics.answered(scope["method"], route, answer.status, seconds)
        client = scope.get("client")
        access_logger.info(
            "%s %s %s",
            scope["method"],
            route,
            answer.status or "unanswered",
            extra={
                "request_id": state["request_id"],
                "method": scope["method"],
                "route": route,
                "path": scope["path"],
                "query": masked_query(scope["query_string"]),
                "status": answer.status,
                "refused": refused,
                "complete": answer.complete,
                "bytes": answer.bytes,
                "seconds": round(time.monotonic() - began, 6),
                "client": client[0] if client else "",
                "subject": state.get("subject", ""),
            },
        )


def _template(scope: Scope, route_outside: object) -> str:
    """Return the template of the route that handled the request, such as ``/v1/streams``."""
    route = scope.get("route")
    if route is None or route is route_outside:
        return _UNROUTED
    return str(getattr(route, "path", "")) or "/"
