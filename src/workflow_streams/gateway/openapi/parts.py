"""Parts that the descriptions of several operations share: parameters, schemas, answers."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

OFFSET = (
    "A token from `Stream-Next-Offset`; `-1` for the start; `now` for the head; `-2` or less for "
    "that many items before the head."
)
SECONDS: Json = {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$"}
WAIT = "Seconds to wait for the workflow to be started, instead of answering 404 at once."
PROBLEM: Json = {
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
ITEM: Json = {
    "description": "An item of a workflow's stream. Streams made by PUT hold bare values.",
    "type": "object",
    "required": ["offset", "topic", "data"],
    "properties": {
        "offset": {"type": "integer"},
        "topic": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "data": {"description": "As published; base64 if there is an `encoding`."},
        "encoding": {
            "type": "string",
            "description": "Payload encoding, if not JSON.",
        },
    },
}
STREAM: Json = {
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
ANY: Json = {"schema": {}}

# Which statuses refusals have, and what they mean.
_REFUSALS = {
    "400": "A parameter, a header or the body is malformed.",
    "401": "Credentials are missing or not valid.",
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
    "503": "Temporal does not answer, or the stream has not been opened or fully made yet.",
}
_COMMON = ("400", "401", "403", "414", "429", "431", "502", "503")


def path_id() -> Json:
    """Describe the workflow id in a path."""
    return {
        "name": "workflow_id",
        "in": "path",
        "required": True,
        "description": "Paths that begin with `__ds` are reserved.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 1000},
    }


def query(name: str, text: str, schema: Json) -> Json:
    """Describe a query parameter."""
    return {"name": name, "in": "query", "description": text, "schema": schema}


def errors() -> Json:
    """Describe the query parameter ``errors``."""
    return query(
        "errors",
        "How to report refusals that pass: `events` (200 with an event stream that says when to "
        "come back) or `status`. Without it, browsers' `EventSource` gets events.",
        {"enum": ["events", "status"]},
    )


def header(name: str, text: str, schema: Json | None = None) -> Json:
    """Describe a header field of requests, by default one that holds a text."""
    return {
        "name": name,
        "in": "header",
        "description": text,
        "schema": schema or {"type": "string"},
    }


def answers(good: Json, *refused: str) -> Json:
    """Describe answers: the good ones, the refusals common to all, and those in ``refused``."""
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    bad = {
        status: {"description": _REFUSALS[status], "content": problem}
        for status in sorted({*_COMMON, *refused})
    }
    return {**good, **bad}


def given(*names: str) -> Json:
    """Describe header fields of answers, each of which holds a text."""
    return {name: {"schema": {"type": "string"}} for name in names}
