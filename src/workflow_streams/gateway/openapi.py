"""The description of the HTTP interface (OpenAPI 3.1), as ``GET /openapi.json`` serves it."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .following.places import MOST_STREAMS
from .security.signing import MOST_SECONDS

Json = dict[str, Any]

_OFFSET = (
    "A token from `Stream-Next-Offset`; `-1` for the start; `now` for the head; `-2` or less for "
    "so many items before the head."
)
_SECONDS: Json = {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$"}
_WAIT = "Seconds to wait for the workflow to be started, instead of answering 404 at once."


async def openapi(_request: Request) -> Response:
    """Serve the description."""
    return JSONResponse(description(), headers={"cache-control": "no-cache"})


@cache
def description() -> Json:
    """Return the description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "workflow_streams gateway",
            "version": version("workflow-streams"),
            "description": (
                "Streams of Temporal workflows by the Durable Streams protocol. A workflow id "
                "may contain `/`."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            "/v1/stream/{workflow_id}": {
                "parameters": [_path_id()],
                "get": _read(),
                "head": _head(),
                "post": _append(),
                "put": _make(),
                "delete": _delete(),
            },
            "/v1/stream/{workflow_id}/cancel": {"parameters": [_path_id()], "post": _cancel()},
            "/v1/streams": {"get": _list()},
            "/v1/streams/events": {"get": _several()},
            "/v1/sign": {"post": _sign()},
            "/healthz": {"get": _plain("Whether the process answers.", "200")},
            "/readyz": {"get": _plain("Whether Temporal can be used.", "200", "503")},
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _plain("This description.", "200")},
        },
        "components": {
            "schemas": {"Problem": _PROBLEM, "Item": _ITEM, "Stream": _STREAM},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"bearer": []}],
    }


_PROBLEM: Json = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
_ITEM: Json = {
    "description": "An item of a workflow's stream. Streams made by PUT hold bare values.",
    "type": "object",
    "required": ["offset", "topic", "data"],
    "properties": {
        "offset": {"type": "integer"},
        "topic": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "data": {"description": "As published; base64 if `encoding` is there."},
        "encoding": {"type": "string", "description": "Payload encoding of what is not JSON."},
    },
}
_STREAM: Json = {
    "type": "object",
    "required": ["id", "url", "type", "state", "outcome", "started", "closed"],
    "properties": {
        "id": {"type": "string"},
        "url": {"type": "string"},
        "type": {"type": "string"},
        "state": {"enum": ["running", "closed"]},
        "outcome": {"type": ["string", "null"]},
        "started": {"type": ["string", "null"]},
        "closed": {"type": ["string", "null"]},
        "content_type": {"type": "string"},
    },
}
_ANY: Json = {"schema": {}}
_REFUSALS = {
    "400": "A parameter, a header or the body is malformed.",
    "401": "Credentials are missing, or do not hold.",
    "403": "The credentials do not allow this, or a newer session of the producer has written.",
    "404": "There is no such stream.",
    "405": "This stream does not support that.",
    "408": "The body did not arrive in time.",
    "409": "The stream is closed, of another type, or the request is out of order.",
    "410": "The offset lies before what is retained, or is of another stream that had this name: "
    "`Stream-Base-Offset` says where to go on. Or the stream has been deleted, and has forks.",
    "413": "The body is too large.",
    "414": "The URL is too long.",
    "429": "Too many connections or requests from one client.",
    "431": "The header fields are too large.",
    "501": "The stream's host cannot do this.",
    "502": "Temporal refused, or what it holds cannot be read.",
    "503": "Temporal does not answer, or no worker has opened the stream yet.",
}
_COMMON = ("400", "401", "403", "414", "429", "431", "502", "503")


def _path_id() -> Json:
    return {
        "name": "workflow_id",
        "in": "path",
        "required": True,
        "description": "Paths that begin with `__ds` are reserved.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 1000},
    }


def _query(name: str, text: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _errors() -> Json:
    return _query(
        "errors",
        "How to report refusals that pass: `events` (200 with an event stream that says when to "
        "come back) or `status`. Without it, browsers' `EventSource` gets events.",
        {"enum": ["events", "status"]},
    )


def _header(name: str, text: str, schema: Json | None = None) -> Json:
    return {
        "name": name,
        "in": "header",
        "description": text,
        "schema": schema or {"type": "string"},
    }


def _answers(good: Json, *refused: str) -> Json:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    bad = {
        status: {"description": _REFUSALS[status], "content": problem}
        for status in sorted({*_COMMON, *refused})
    }
    return {**good, **bad}


def _given(*names: str) -> Json:
    return {name: {"schema": {"type": "string"}} for name in names}


def _read() -> Json:
    sent = _given(
        "ETag", "Stream-Next-Offset", "Stream-Up-To-Date", "Stream-Closed", "Stream-Outcome",
        "Stream-Cursor", "Stream-Gaps", "Stream-Rewinds", "Stream-SSE-Data-Encoding",
    )  # fmt: skip
    return {
        "summary": "Read what is there, wait for more (long-poll), or follow (sse).",
        "parameters": [
            _query("offset", _OFFSET, {"type": "string"}),
            _query("live", "How to wait for more.", {"enum": ["long-poll", "sse"]}),
            _query(
                "last",
                "Begin so many items before the head; in place of `offset`.",
                {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
            ),
            _query("wait", _WAIT, _SECONDS),
            _query("cursor", "The last `Stream-Cursor`.", {"type": "string"}),
            _query("topic", "Only these topics.", {"type": "array", "items": {"type": "string"}}),
            _errors(),
            _header("If-None-Match", "The last `ETag`."),
            _header("Last-Event-ID", "Resumes an event stream; wins over `offset`."),
        ],
        "responses": _answers(
            {
                "200": {"description": "Items.", "headers": sent, "content": {"*/*": _ANY}},
                "204": {
                    "description": "A long poll without news, or an `EventSource` that asks again "
                    "for a stream whose end it has been told.",
                    "headers": sent,
                },
                "304": {"description": "Nothing has changed.", "headers": sent},
            },
            "404",
            "410",
        ),
    }


def _head() -> Json:
    names = ("Stream-Next-Offset", "Stream-Base-Offset", "Stream-Closed", "Stream-Outcome",
             "Stream-TTL", "Stream-Expires-At", "Stream-Task-Attempt")  # fmt: skip
    good = {"200": {"description": "Where the stream stands.", "headers": _given(*names)}}
    return {
        "summary": "Where the stream stands.",
        "parameters": [_query("wait", _WAIT, _SECONDS)],
        "responses": _answers(good, "404"),
    }


def _append() -> Json:
    names = ("Stream-Next-Offset", "Stream-Closed", "Producer-Epoch", "Producer-Seq",
             "Stream-Task-Attempt")  # fmt: skip
    sent = _given(*names)
    return {
        "summary": "Append, close, or both.",
        "parameters": [
            _query("topic", "Topic of the items; `default` without.", {"type": "string"}),
            _header("Stream-Closed", "`true` closes the stream."),
            _header("Stream-Seq", "Has to rise from append to append, as text."),
            _header("Producer-Id", "An idempotent producer; with the two below."),
            _header("Producer-Epoch", "Its session, from 0."),
            _header("Producer-Seq", "Number of the append in the session, from 0."),
        ],
        "requestBody": {"content": {"*/*": _ANY}},
        "responses": _answers(
            {
                "200": {"description": "A producer's append was taken.", "headers": sent},
                "202": {"description": "Sent to a stream that the contrib hosts."},
                "204": {"description": "Taken, taken before, or closed.", "headers": sent},
            },
            "404", "405", "408", "409", "413", "501",
        ),
    }  # fmt: skip


def _make() -> Json:
    sent = _given("Stream-Next-Offset", "Stream-Closed", "Location")
    return {
        "summary": "Make a stream that needs no workflow of one's own, or see that it is there.",
        "parameters": [
            _header("Stream-TTL", "Seconds without a read or write after which it expires."),
            _header("Stream-Expires-At", "When it expires, RFC 3339."),
            _header("Stream-Closed", "`true` makes it closed."),
            _header("Stream-Forked-From", "Path of the stream that it is a fork of."),
            _header("Stream-Fork-Offset", "Where it forks; the head without."),
            _header("Stream-Fork-Sub-Offset", "How far past that, in messages or bytes."),
        ],
        "requestBody": {"content": {"*/*": _ANY}},
        "responses": _answers(
            {
                "200": {"description": "It is there.", "headers": sent},
                "201": {"description": "Made.", "headers": sent},
            },
            "404", "408", "409", "413",
        ),
    }  # fmt: skip


def _delete() -> Json:
    return {
        "summary": "Delete a stream that was made by PUT.",
        "responses": _answers({"204": {"description": "Deleted."}}, "404", "405", "410"),
    }


def _cancel() -> Json:
    return {
        "summary": "Ask the stream's workflow to cancel itself.",
        "responses": _answers({"202": {"description": "Asked."}}, "404", "409"),
    }


def _list() -> Json:
    listed = {
        "type": "object",
        "required": ["streams"],
        "properties": {
            "streams": {"type": "array", "items": {"$ref": "#/components/schemas/Stream"}},
            "next_page": {"type": "string"},
        },
    }
    return {
        "summary": "List streams, as far as the caller may read them.",
        "parameters": [
            _query("state", "Which ones.", {"enum": ["running", "closed", "all"]}),
            _query(
                "type",
                "Also list workflows of these types: streams that the contrib hosts.",
                {"type": "array", "items": {"type": "string"}},
            ),
            _query(
                "prefix",
                "Only those whose ids begin like this.",
                {"type": "string", "maxLength": 1000},
            ),
            _query("limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": 1000}),
            _query("page", "`next_page` of the page before.", {"type": "string"}),
        ],
        "responses": _answers(
            {
                "200": {
                    "description": "A page of them.",
                    "content": {"application/json": {"schema": listed}},
                }
            }
        ),
    }


def _several() -> Json:
    texts: Json = {"type": "array", "items": {"type": "string"}}
    ids = {**texts, "minItems": 1, "maxItems": MOST_STREAMS}
    return {
        "summary": "Follow several streams over one connection (server-sent events).",
        "parameters": [
            {**_query("id", "Workflow ids, one parameter each.", ids), "required": True},
            _query("offset", f"{_OFFSET} One for all, or one for each `id` in order.", texts),
            _query("topic", "Only these topics, of all streams.", texts),
            _errors(),
            _header("Last-Event-ID", "Resumes all of them; wins over `offset`."),
        ],
        "responses": _answers(
            {
                "200": {"description": "Events; each names its stream.", "content": {"*/*": _ANY}},
                "204": {"description": "By `Last-Event-ID`, the end of all has been told."},
            }
        ),
    }


def _sign() -> Json:
    body = {
        "type": "object",
        "required": ["workflow_id"],
        "additionalProperties": False,
        "properties": {
            "workflow_id": {"type": "string"},
            "topics": {"type": "array", "items": {"type": "string"}},
            "seconds": {"type": "number", "minimum": 1, "maximum": MOST_SECONDS},
            "live": {"enum": ["sse", "long-poll"]},
            "offset": {"type": "string", "description": _OFFSET},
        },
    }
    signed = {
        "type": "object",
        "required": ["url", "expires_at"],
        "properties": {"url": {"type": "string"}, "expires_at": {"type": "integer"}},
    }
    good = {"description": "The URL.", "content": {"application/json": {"schema": signed}}}
    return {
        "summary": "Trade credentials for a URL that reads one stream for a short while.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _answers({"200": good}, "408", "413"),
    }


def _metrics() -> Json:
    good = {"200": {"description": "Numbers for Prometheus.", "content": {"*/*": _ANY}}}
    return {"summary": "Numbers for Prometheus.", "responses": _answers(good)}


def _plain(summary: str, *statuses: str) -> Json:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "summary": summary,
        "responses": {status: {"description": summary, "content": content} for status in statuses},
    }
