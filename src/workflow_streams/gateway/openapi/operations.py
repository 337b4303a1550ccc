"""The operations of the HTTP interface, each as OpenAPI describes it."""

from __future__ import annotations

from ..following.event_ids import MOST_STREAMS
from ..security.signing import MOST_SECONDS
from .parts import ANY, OFFSET, SECONDS, WAIT, Json, answers, errors, given, header, query


def read() -> Json:
    """Describe GET of a stream."""
    sent = given(
        "ETag", "Stream-Next-Offset", "Stream-Up-To-Date", "Stream-Closed", "Stream-Outcome",
        "Stream-Cursor", "Stream-Gaps", "Stream-Rewinds", "Stream-SSE-Data-Encoding",
    )  # fmt: skip
    return {
        "summary": "Read what is there, wait for more (long-poll), or follow (sse).",
        "parameters": [
            query("offset", OFFSET, {"type": "string"}),
            query("live", "How to wait for more.", {"enum": ["long-poll", "sse"]}),
            query(
                "last",
                "Begin that many items before the head; in place of `offset`.",
                {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
            ),
            query("wait", WAIT, SECONDS),
            query("cursor", "The last `Stream-Cursor`.", {"type": "string"}),
            query("topic", "Only these topics.", {"type": "array", "items": {"type": "string"}}),
            errors(),
            header("If-None-Match", "The last `ETag`."),
            header("Last-Event-ID", "Resumes an event stream; overrides `offset`."),
        ],
        "responses": answers(
            {
                "200": {"description": "Items.", "headers": sent, "content": {"*/*": ANY}},
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


def head() -> Json:
    """Describe HEAD of a stream."""
    names = ("Stream-Next-Offset", "Stream-Base-Offset", "Stream-Closed", "Stream-Outcome",
             "Stream-TTL", "Stream-Expires-At", "Stream-Task-Attempt")  # fmt: skip
    good = {"200": {"description": "Where the stream stands.", "headers": given(*names)}}
    return {
        "summary": "Where the stream stands.",
        "parameters": [query("wait", WAIT, SECONDS)],
        "responses": answers(good, "404"),
    }


def append() -> Json:
    """Describe POST to a stream."""
    names = ("Stream-Next-Offset", "Stream-Closed", "Producer-Epoch", "Producer-Seq",
             "Stream-Task-Attempt")  # fmt: skip
    sent = given(*names)
    return {
        "summary": "Append, close, or both.",
        "parameters": [
            query("topic", "Topic of the items; `default` if none is given.", {"type": "string"}),
            header("Stream-Closed", "`true` closes the stream."),
            header("Stream-Seq", "Has to rise from append to append, compared as text."),
            header("Producer-Id", "Id of an idempotent producer; needs the two below."),
            header("Producer-Epoch", "Its session, from 0."),
            header("Producer-Seq", "Number of the append in the session, from 0."),
        ],
        "requestBody": {"content": {"*/*": ANY}},
        "responses": answers(
            {
                "200": {"description": "A producer's append was accepted.", "headers": sent},
                "202": {"description": "Sent to a stream that the contrib hosts."},
                "204": {"description": "Accepted, accepted before, or closed.", "headers": sent},
            },
            "404", "405", "408", "409", "413", "501",
        ),
    }  # fmt: skip


def make() -> Json:
    """Describe PUT of a stream."""
    sent = given("Stream-Next-Offset", "Stream-Closed", "Location")
    return {
        "summary": "Make a stream that needs no workflow of yours, or find that it exists.",
        "parameters": [
            header("Stream-TTL", "Seconds without a read or write after which it expires."),
            header("Stream-Expires-At", "When it expires, RFC 3339."),
            header("Stream-Closed", "`true` makes it closed."),
            header("Stream-Forked-From", "Path of the stream that it is a fork of."),
            header("Stream-Fork-Offset", "Where it forks; the head if not given."),
            header("Stream-Fork-Sub-Offset", "How far past that, in messages or bytes."),
        ],
        "requestBody": {"content": {"*/*": ANY}},
        "responses": answers(
            {
                "200": {"description": "It exists already.", "headers": sent},
                "201": {"description": "Made.", "headers": sent},
            },
            "404", "408", "409", "413",
        ),
    }  # fmt: skip


def delete() -> Json:
    """Describe DELETE of a stream."""
    return {
        "summary": "Delete a stream that was made by PUT.",
        "responses": answers({"204": {"description": "Deleted."}}, "404", "405", "410"),
    }


def cancel() -> Json:
    """Describe the cancelling of a stream's workflow."""
    return {
        "summary": "Ask the stream's workflow to cancel itself.",
        "responses": answers({"202": {"description": "Asked."}}, "404", "409"),
    }


def list_streams() -> Json:
    """Describe the list of streams."""
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
            query("state", "Which ones.", {"enum": ["running", "closed", "all"]}),
            query(
                "type",
                "Also list workflows of these types: streams that the contrib hosts.",
                {"type": "array", "items": {"type": "string"}},
            ),
            query(
                "prefix",
                "Only those whose ids begin with this.",
                {"type": "string", "maxLength": 1000},
            ),
            query("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": 1000}),
            query("page", "`next_page` of the page before.", {"type": "string"}),
        ],
        "responses": answers(
            {
                "200": {
                    "description": "A page of them.",
                    "content": {"application/json": {"schema": listed}},
                }
            }
        ),
    }


def several() -> Json:
    """Describe the event stream of several streams."""
    texts: Json = {"type": "array", "items": {"type": "string"}}
    ids = {**texts, "minItems": 1, "maxItems": MOST_STREAMS}
    return {
        "summary": "Follow several streams over one connection (server-sent events).",
        "parameters": [
            {**query("id", "Workflow ids, one parameter each.", ids), "required": True},
            query("offset", f"{OFFSET} One for all, or one for each `id` in order.", texts),
            query("topic", "Only these topics, of all streams.", texts),
            errors(),
            header("Last-Event-ID", "Resumes all of them; overrides `offset`."),
        ],
        "responses": answers(
            {
                "200": {"description": "Events; each names its stream.", "content": {"*/*": ANY}},
                "204": {"description": "The client knows the end of all, by `Last-Event-ID`."},
            }
        ),
    }


def sign() -> Json:
    """Describe the signing of URLs."""
    body = {
        "type": "object",
        "required": ["workflow_id"],
        "additionalProperties": False,
        "properties": {
            "workflow_id": {"type": "string"},
            "topics": {"type": "array", "items": {"type": "string"}},
            "seconds": {"type": "number", "minimum": 1, "maximum": MOST_SECONDS},
            "live": {"enum": ["sse", "long-poll"]},
            "offset": {"type": "string", "description": OFFSET},
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
        "responses": answers({"200": good}, "408", "413"),
    }


def metrics() -> Json:
    """Describe the metrics."""
    good = {"200": {"description": "Metrics for Prometheus.", "content": {"*/*": ANY}}}
    return {"summary": "Metrics for Prometheus.", "responses": answers(good)}


def plain(summary: str, *statuses: str) -> Json:
    """Describe an operation that takes nothing and answers with an object."""
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "summary": summary,
        "responses": {status: {"description": summary, "content": content} for status in statuses},
    }
