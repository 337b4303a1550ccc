"""POST: appends, closes, and cancels (Durable Streams 5.2 and 5.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.responses import Response

from ...errors import StreamClosedError
from ...hosted.appends import Append, Appended, append, publish
from ...log.fold import Accepted, Closed, Duplicate, Fenced, OutOfSequence, Regression, Verdict
from ...log.media_types import media_type
from ...log.packed import PackedEntries, pack
from ..formats.frames import Shape
from ..layers.limits import client_in
from ..refusals import Headers
from ..refusals.problems import (
    ConflictError,
    InternalError,
    InvalidRequestError,
    NotOfferedError,
    StaleProducerError,
    UnsupportedError,
)
from ..requests.writes import (
    DEFAULT_TOPIC,
    ProducerBatch,
    check_content_encoding,
    is_closing,
    parse_order,
    parse_producer_headers,
    parse_topic,
)
from ..security import authorize
from ..sessions import gateway_of
from ..telemetry.metrics import Metrics
from ..temporal.streams import Stream
from .bodies import most_bytes, read_entries

_CLOSED: Headers = (("stream-closed", "true"),)
_MISSING = "Batches of this producer that come before this one are missing."
_FORGOTTEN = (
    "The stream knows no batch of this producer in this epoch: batches that come before this one "
    "are missing, or the stream has forgotten the producer, since many others have written after "
    "it. What it wrote is still there. Go on with a new epoch and Producer-Seq 0."
)


async def post(request: Request, workflow_id: str) -> Response:
    """Append to a stream, close it, or both."""
    topic = parse_topic(request.query_params)
    closing = is_closing(request.headers)
    producer = parse_producer_headers(request.headers)
    order = parse_order(request.headers)
    # Closing is about the stream as a whole, whatever the topic of a last item. So is Stream-Seq,
    # since one writer's key is compared with those of all others.
    topics = () if closing or order is not None else (topic or DEFAULT_TOPIC,)
    grant = await authorize(request, "write", workflow_id, topics)
    if producer is not None and not grant.may_touch_all:
        producer = producer.of_topic(topic or DEFAULT_TOPIC)
    gateway = gateway_of(request)
    check_content_encoding(request.headers)
    body = await request.body()
    if not body and not closing:
        raise InvalidRequestError("The body is empty.")
    content_type = request.headers.get("content-type", "")
    if body and not media_type(content_type):
        raise InvalidRequestError("There is no Content-Type.")
    async with gateway.found(workflow_id) as stream, stream.held():
        await stream.wait_for_host()
        if stream.task_headers:
            request.app.state.metrics.failing_appends.inc()
        if stream.polled:
            return await _post_unseen(stream, request, body, topic)
        if not stream.running:
            await stream.feed.wait_known(lambda: stream.feed.done)
        if closing and stream.setup is None and stream.end is None:
            raise NotOfferedError("This stream ends with its workflow; nobody else can close it.")
        # After the end of the stream, the body makes no difference.
        to_write = body if stream.end is None else b""
        async with _entries(request, to_write, stream, topic) as entries:
            batch = Append(
                entries,
                producer.producer.publisher_id if producer is not None else "",
                producer.sequence + 1 if producer is not None else 0,
                closing,
                order,
            )
            appended = await append(stream, batch)
    metrics: Metrics = request.app.state.metrics
    metrics.appends.labels(_verdict_name(appended.verdict)).inc()
    if isinstance(appended.verdict, Accepted):
        metrics.append_bytes.inc(len(body))
    answer = _answer(appended, batch, producer, bool(body))
    answer.headers.update(stream.task_headers)
    return answer


@asynccontextmanager
async def _entries(
    request: Request, body: bytes, stream: Stream, topic: str | None
) -> AsyncIterator[PackedEntries]:
    """Turn a body into entries, which have their room within the block."""
    if not body:
        yield pack([])
        return
    shape, topic = stream.shape, topic or DEFAULT_TOPIC
    check_content_type(request.headers.get("content-type", ""), shape)
    room = gateway_of(request).writes
    async with room.taken(client_in(request.scope), most_bytes(body, shape, topic)) as share:
        entries = await read_entries(body, shape, topic)
        if not entries:
            raise InvalidRequestError("The array is empty.")
        share.settle(entries.packed_bytes)
        yield entries


def check_content_type(content_type: str, shape: Shape) -> None:
    """Refuse content whose type is not that of the stream.

    Raises:
        ConflictError: The types differ.
    """
    if media_type(content_type) != media_type(shape.content_type):
        raise ConflictError(f"The stream's content type is {media_type(shape.content_type)}.")


async def _post_unseen(
    stream: Stream, request: Request, body: bytes, topic: str | None
) -> Response:
    """Publish to a stream of the contrib, whose history does not show verdicts."""
    special = ("producer-id", "stream-seq", "stream-closed")
    if any(name in request.headers for name in special):
        raise UnsupportedError("This stream's host takes plain appends only.")
    async with _entries(request, body, stream, topic) as entries:
        await publish(stream, Append(entries))
    return Response(status_code=202, headers=stream.task_headers)


def _verdict_name(verdict: Verdict) -> str:
    return type(verdict).__name__.lower()


def _answer(
    appended: Appended, batch: Append, producer: ProducerBatch | None, has_body: bool
) -> Response:
    """Return the answer that the protocol has for a verdict."""
    headers = {"stream-next-offset": appended.position, "cache-control": "no-store"}
    sent = producer.sequence if producer is not None else 0
    if producer is not None:
        headers |= {
            "producer-epoch": str(producer.producer.epoch),
            "producer-seq": str(sent),
        }
    match appended.verdict:
        case Accepted():
            if batch.close:
                headers["stream-closed"] = "true"
            return Response(status_code=200 if producer and has_body else 204, headers=headers)
        case Duplicate(last):
            return Response(status_code=204, headers=headers | {"producer-seq": str(last - 1)})
        case Closed(by_this) if by_this or (batch.close and not has_body):
            return Response(status_code=204, headers=headers | {"stream-closed": "true"})
        case Closed():
            raise ConflictError("The stream is closed.", headers=(*_CLOSED, _next(appended)))
        case Fenced(epoch):
            raise StaleProducerError(epoch)
        case OutOfSequence(new_session=True):
            raise InvalidRequestError("A producer's new epoch begins with Producer-Seq 0.")
        case OutOfSequence(expected):
            raise ConflictError(
                _FORGOTTEN if expected == 1 else _MISSING,
                headers=(
                    ("producer-expected-seq", str(expected - 1)),
                    ("producer-received-seq", str(sent)),
                    _next(appended),
                ),
            )
        case Regression():
            raise ConflictError("Stream-Seq does not rise.", headers=(_next(appended),))
        case verdict:
            raise InternalError(cause_for_log=f"an append was {verdict}")


def _next(appended: Appended) -> tuple[str, str]:
    return ("stream-next-offset", appended.position)


async def cancel(request: Request, workflow_id: str) -> Response:
    """Ask a stream's workflow to cancel itself."""
    await authorize(request, "cancel", workflow_id)
    gateway = gateway_of(request)
    async with gateway.found(workflow_id) as stream, stream.held():
        await stream.now()  # fails if there is no stream
    if not stream.running:
        raise ConflictError("The workflow has ended.", headers=_CLOSED)
    try:
        handle = gateway.link.client.get_workflow_handle(
            workflow_id, first_execution_run_id=stream.first_run_id
        )
        await gateway.link.call(handle.cancel(), workflow_id)
    except StreamClosedError:
        raise ConflictError("The workflow has ended.", headers=_CLOSED) from None
    return Response(status_code=202)
