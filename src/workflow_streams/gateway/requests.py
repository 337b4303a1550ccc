"""Reads and checks the query parameters and header fields of requests. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from typing import Literal

from starlette.datastructures import Headers, QueryParams

from ..events import Last
from ..log.positions import Position
from ..log.publisher_ids import Producer
from .formats.offsets import END_MARK, Place, parse_cursor, parse_offset, parse_place
from .paths import STREAM_PATH, parse_path
from .refusals.event_sources import AS_EVENTS, AS_STATUS, ERRORS_PARAMETER
from .refusals.problems import InvalidRequestError

Live = Literal["long-poll", "sse"]

DEFAULT_TOPIC = "default"
"""The topic of appends that name none."""

# The limit of what a writer may choose and what is then handed from run to run.
_MOST_CHARACTERS = 256
# Integers that JavaScript can hold (Durable Streams 5.2.1).
_LARGEST_INTEGER = 2**53 - 1
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """The parameters of a read.

    Attributes:
        place: Where to begin.
        live: How to wait for more; None to read only what is there.
        cursor: The client's cursor.
        topics: Topics asked for; empty for all.
        resumes: Whether the place comes from ``Last-Event-ID``.
        knows_end: Whether ``Last-Event-ID`` says that the client has been told the end.
        asked: The place, written as the value of ``offset``.
        wait_seconds: How long to wait for the workflow to be started.
    """

    place: Place
    live: Live | None
    cursor: int | None
    topics: frozenset[str]
    resumes: bool = False
    knows_end: bool = False
    asked: str = "-1"
    wait_seconds: float = 0.0

    @property
    def start(self) -> int | Position:
        """Where to begin; 0 if the request names no offset."""
        return self.place if isinstance(self.place, int | Position) else 0

    @property
    def offset(self) -> int:
        """The offset to begin at."""
        return self.start.offset if isinstance(self.start, Position) else self.start


def parse_read(query: QueryParams, headers: Headers) -> ReadQuery:
    """Read the parameters of a GET; unknown ones are ignored.

    Raises:
        InvalidRequestError: A parameter is malformed, or is given more than once.
    """
    live = parse_live(single(query, "live"))
    offset, last = single(query, "offset"), single(query, "last")
    if offset is not None and last is not None:
        raise InvalidRequestError("offset and last exclude each other.")
    last_event = headers.get("last-event-id") if live == "sse" else None
    if offset is None and last is None and not last_event and live is not None:
        raise InvalidRequestError("A live read needs an offset.")
    check_errors(single(query, ERRORS_PARAMETER))
    begins = parse_place(offset) if last is None else Last(parse_integer(last, "last"))
    asked = offset or ("-1" if last is None else _back(int(last)))
    if last_event:
        asked = last_event.removesuffix(END_MARK)
        begins = parse_place(asked)
    return ReadQuery(
        begins,
        live,
        parse_cursor(single(query, "cursor")),
        frozenset(query.getlist("topic")),
        resumes=bool(last_event),
        knows_end=last_event is not None and last_event.endswith(END_MARK),
        asked=asked,
        wait_seconds=parse_wait(query),
    )


def _back(count: int) -> str:
    """Return the ``offset`` that begins so many items back.

    For one item that is -1, which means the start and so lies further back.
    """
    return f"-{count}" if count else "now"


def parse_wait(query: QueryParams) -> float:
    """Read the ``wait`` parameter, in seconds; 0 without it.

    Raises:
        InvalidRequestError: It is not a number of seconds.
    """
    text = single(query, "wait")
    if text is None:
        return 0.0
    if _SECONDS.fullmatch(text) is None:
        raise InvalidRequestError("wait is a number of seconds, such as 30 or 0.5.")
    return float(text)


def check_errors(text: str | None) -> None:
    """Check the ``errors`` parameter; see :mod:`.refusals.event_sources`.

    Raises:
        InvalidRequestError: It has another value than the two that are allowed.
    """
    if text not in (None, AS_EVENTS, AS_STATUS):
        raise InvalidRequestError(f"{ERRORS_PARAMETER} is {AS_EVENTS} or {AS_STATUS}.")


def parse_live(text: str | None) -> Live | None:
    """Read the ``live`` parameter.

    Raises:
        InvalidRequestError: It is not a known mode.
    """
    match text:
        case None:
            return None
        case "long-poll" | "sse":
            return text
        case _:
            raise InvalidRequestError("live is long-poll or sse.")


def parse_topic(query: QueryParams) -> str | None:
    """Read the topic that a write names; None if it names none.

    Raises:
        InvalidRequestError: It names more than one.
    """
    return single(query, "topic")


def is_closing(headers: Headers) -> bool:
    """Whether ``Stream-Closed`` is true; any other value counts as absent (Durable Streams 4.1)."""
    return headers.get("stream-closed", "").lower() == "true"


@dataclass(frozen=True, slots=True)
class ProducerBatch:
    """The producer's headers: who writes, and the batch's number in the session, from 0."""

    producer: Producer
    sequence: int

    def of_topic(self, topic: str) -> ProducerBatch:
        """Return the same batch, as that of a producer that writes to this topic alone.

        The id of that producer contains a line break, which no header field can hold. So no client
        can claim to be it.
        """
        digest = sha256(topic.encode(errors="surrogatepass")).hexdigest()[:32]
        name = f"{digest}\n{self.producer.producer_id}"
        return ProducerBatch(Producer(name, self.producer.epoch), self.sequence)


def parse_producer_headers(headers: Headers) -> ProducerBatch | None:
    """Read the headers of an idempotent producer; None if the request has none of them.

    Raises:
        InvalidRequestError: Some of them are missing, or one is malformed.
    """
    given = [headers.get(f"producer-{name}") for name in ("id", "epoch", "seq")]
    match given:
        case [None, None, None]:
            return None
        case [str(producer_id), str(epoch), str(sequence)]:
            if not producer_id:
                raise InvalidRequestError("Producer-Id is empty.")
            if len(producer_id) > _MOST_CHARACTERS:
                raise InvalidRequestError(f"Producer-Id is over {_MOST_CHARACTERS} characters.")
            return ProducerBatch(
                Producer(producer_id, parse_integer(epoch, "Producer-Epoch")),
                parse_integer(sequence, "Producer-Seq"),
            )
        case _:
            raise InvalidRequestError(
                "Producer-Id, Producer-Epoch and Producer-Seq belong together."
            )


def parse_order(headers: Headers) -> str | None:
    """Read ``Stream-Seq``, the writer's ordering key; None without it.

    Raises:
        InvalidRequestError: It is too long.
    """
    order = headers.get("stream-seq")
    if order is not None and len(order) > _MOST_CHARACTERS:
        raise InvalidRequestError(f"Stream-Seq is over {_MOST_CHARACTERS} characters.")
    return order


def parse_integer(text: str, name: str) -> int:
    """Read a number from 0 to 2^53-1, in plain digits.

    Raises:
        InvalidRequestError: The text is anything else.
    """
    if _INTEGER.fullmatch(text) is None or int(text) > _LARGEST_INTEGER:
        raise InvalidRequestError(f"{name} is not a whole number from 0 to 2^53-1.")
    return int(text)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a stream is to expire; at most one of the two is set."""

    ttl_seconds: int | None = None
    expires_at: str | None = None


def parse_lifetime(headers: Headers) -> Lifetime:
    """Read ``Stream-TTL`` or ``Stream-Expires-At``.

    Raises:
        InvalidRequestError: One of them is malformed, or both are given.
    """
    ttl, expires_at = headers.get("stream-ttl"), headers.get("stream-expires-at")
    if ttl is not None and expires_at is not None:
        raise InvalidRequestError("Stream-TTL and Stream-Expires-At exclude each other.")
    if ttl is not None:
        return Lifetime(ttl_seconds=parse_integer(ttl, "Stream-TTL"))
    if expires_at is not None:
        return Lifetime(expires_at=parse_time(expires_at).isoformat())
    return Lifetime()


@dataclass(frozen=True, slots=True)
class ForkQuery:
    """The headers of a fork.

    Attributes:
        source: Workflow id of the stream to fork.
        offset: Where to fork it; None for its head.
        position: The same as a position, if the client gave one, which also says which stream it
            has read.
        sub_offset: How far past the offset: in messages of a JSON stream, otherwise in bytes.
    """

    source: str
    offset: int | None = None
    position: Position | None = None
    sub_offset: int = 0


def parse_fork(headers: Headers) -> ForkQuery | None:
    """Read ``Stream-Forked-From`` and the headers that belong to it; None without it.

    Raises:
        InvalidRequestError: A header is malformed, or lacks another one that it needs.
    """
    source = headers.get("stream-forked-from")
    offset, sub_offset = headers.get("stream-fork-offset"), headers.get("stream-fork-sub-offset")
    if source is None:
        if offset is not None or sub_offset is not None:
            raise InvalidRequestError("A fork needs Stream-Forked-From.")
        return None
    target = parse_path(source.partition("?")[0].partition(STREAM_PATH)[2])
    if not target.workflow_id or target.reserved or target.cancel:
        raise InvalidRequestError("Stream-Forked-From is not the path of a stream.")
    past = 0 if sub_offset is None else parse_integer(sub_offset, "Stream-Fork-Sub-Offset")
    if past and offset is None:
        raise InvalidRequestError("Stream-Fork-Sub-Offset needs Stream-Fork-Offset.")
    place = None if offset is None else parse_offset(offset)
    if isinstance(place, Position):
        return ForkQuery(target.workflow_id, place.offset, place, sub_offset=past)
    return ForkQuery(target.workflow_id, place, sub_offset=past)


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time.

    Raises:
        InvalidRequestError: The text is not such a time.
    """
    try:
        if _RFC_3339.fullmatch(text) is None:
            raise ValueError(text)
        return datetime.fromisoformat(text.upper()).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise InvalidRequestError("Stream-Expires-At is not an RFC 3339 time.") from None


def single(query: QueryParams, name: str) -> str | None:
    """Return the value of a parameter; None without it.

    Raises:
        InvalidRequestError: The parameter is given more than once.
    """
    values = query.getlist(name)
    if len(values) > 1:
        raise InvalidRequestError(f"There is more than one {name}.")
    return values[0] if values else None
