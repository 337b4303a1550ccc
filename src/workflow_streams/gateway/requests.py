"""What a request asks for by query parameters and header fields, checked. Pure."""

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
"""Topic of what is appended without naming one."""

# Of what a writer may choose, and what is then handed on from run to run.
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
        live: How to wait for more; None for a read of what is there.
        cursor: The client's cursor.
        topics: Topics asked for; empty for all.
        resumes: Whether the place comes from ``Last-Event-ID``.
        knows_end: Whether that says that the client has been told the end.
        asked: The place as the text of an ``offset``.
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
        """Where to begin; 0 if no offset is named."""
        return self.place if isinstance(self.place, int | Position) else 0

    @property
    def offset(self) -> int:
        """The offset to begin at."""
        return self.start.offset if isinstance(self.start, Position) else self.start


def parse_read(query: QueryParams, headers: Headers) -> ReadQuery:
    """Read the parameters of a GET; unknown ones are ignored.

    Raises:
        InvalidRequestError: One of them is malformed, or is there more than once.
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
    """Return the offset that begins so many back, or further: -1 is the start."""
    return f"-{count}" if count else "now"


def parse_wait(query: QueryParams) -> float:
    """Read the ``wait`` parameter: seconds; 0 without it.

    Raises:
        InvalidRequestError: It is no number of seconds.
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
        InvalidRequestError: It is there, and is neither of its values.
    """
    if text not in (None, AS_EVENTS, AS_STATUS):
        raise InvalidRequestError(f"{ERRORS_PARAMETER} is {AS_EVENTS} or {AS_STATUS}.")


def parse_live(text: str | None) -> Live | None:
    """Read the ``live`` parameter.

    Raises:
        InvalidRequestError: It names no known mode.
    """
    match text:
        case None:
            return None
        case "long-poll" | "sse":
            return text
        case _:
            raise InvalidRequestError("live is long-poll or sse.")


def parse_topic(query: QueryParams) -> str | None:
    """Read the topic that a write names.

    Raises:
        InvalidRequestError: It names more than one.
    """
    return single(query, "topic")


def is_closing(headers: Headers) -> bool:
    """Whether ``Stream-Closed`` is true; other values count as absent (Durable Streams 4.1)."""
    return headers.get("stream-closed", "").lower() == "true"


@dataclass(frozen=True, slots=True)
class ProducerBatch:
    """The producer's headers: who writes, and the batch's number in its session, from 0."""

    producer: Producer
    sequence: int

    def of_topic(self, topic: str) -> ProducerBatch:
        """Return it as that of a producer of this topic alone.

        Its id has a line break, which no header field can hold: so it is no other producer's.
        """
        digest = sha256(topic.encode(errors="surrogatepass")).hexdigest()[:32]
        name = f"{digest}\n{self.producer.producer_id}"
        return ProducerBatch(Producer(name, self.producer.epoch), self.sequence)


def parse_producer_headers(headers: Headers) -> ProducerBatch | None:
    """Read the headers of an idempotent producer; None if there are none.

    Raises:
        InvalidRequestError: Only some of them are there, or one is malformed.
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
    """Read ``Stream-Seq``, the writer's ordering key; None if there is none.

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
        InvalidRequestError: It is something else.
    """
    if _INTEGER.fullmatch(text) is None or int(text) > _LARGEST_INTEGER:
        raise InvalidRequestError(f"{name} is not a whole number from 0 to 2^53-1.")
    return int(text)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a stream is to expire; at most one of both is set."""

    ttl_seconds: int | None = None
    expires_at: str | None = None


def parse_lifetime(headers: Headers) -> Lifetime:
    """Read ``Stream-TTL`` or ``Stream-Expires-At``.

    Raises:
        InvalidRequestError: One is malformed, or both are there.
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
        offset: Where; None for its head.
        position: The same, if it also says which stream was read.
        sub_offset: How far past that: messages of a JSON stream, else bytes.
    """

    source: str
    offset: int | None = None
    position: Position | None = None
    sub_offset: int = 0


def parse_fork(headers: Headers) -> ForkQuery | None:
    """Read ``Stream-Forked-From`` and what goes with it; None if it is not there.

    Raises:
        InvalidRequestError: One is malformed, or needs another that is not there.
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
        InvalidRequestError: It is none.
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
        InvalidRequestError: It is there more than once.
    """
    values = query.getlist(name)
    if len(values) > 1:
        raise InvalidRequestError(f"There is more than one {name}.")
    return values[0] if values else None
