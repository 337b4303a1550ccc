"""Reads and checks the query parameters and header fields of writes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256

from starlette.datastructures import Headers, QueryParams

from ...hosted.fork_point import ForkPoint
from ...log.positions import Position
from ...log.publisher_ids import Producer
from ..formats.offsets import parse_offset
from ..refusals.problems import InvalidRequestError
from .paths import STREAM_PATH, parse_path
from .values import parse_integer, single

DEFAULT_TOPIC = "default"
"""The topic of appends that name none."""

# The limit of what a writer may choose and what is then handed from run to run.
_MOST_CHARACTERS = 256
_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def parse_topic(query: QueryParams) -> str | None:
    """Read the topic that a write names; None if it names none.

    Raises:
        InvalidRequestError: It names more than one.
    """
    return single(query, "topic")


def is_closing(headers: Headers) -> bool:
    """Whether ``Stream-Closed`` is true; any other value counts as absent (Durable Streams 4.1)."""
    return headers.get("stream-closed", "").lower() == "true"


def check_content_encoding(headers: Headers) -> None:
    """Refuse a body that is said to be compressed, since it is taken as it comes.

    Raises:
        InvalidRequestError: It is.
    """
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise InvalidRequestError("A body is taken as it is: send it without Content-Encoding.")


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


def parse_fork(headers: Headers) -> ForkPoint | None:
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
        return ForkPoint(target.workflow_id, place.offset, place, sub_offset=past)
    return ForkPoint(target.workflow_id, place, sub_offset=past)


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
