"""Batches in the compact form: a header, and a body of columns that may be compressed. Pure.

The header has all that batches are judged by, so that a workflow need not look into the body. What
many items have in common, their topic and the metadata of their payload, is written once.
docs/wire.md describes the form.

All processes read a message alike, or find it malformed. How large a body becomes is known before
it is unpacked.
"""

from __future__ import annotations

import re
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import TypeVar, overload

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload

from .binary import (
    MalformedError,
    Reader,
    block,
    column_bytes,
    number_at,
    number_bytes,
    text_bytes,
)
from .payloads import decode_serialised, encode_serialised
from .publisher_ids import fits_state
from .wire import Batch, Entry

T = TypeVar("T")

ENCODING = b"binary/wfs1"
"""The ``encoding`` in the metadata of the payload."""

MOST_BATCHES = 1_000
"""How many batches a message has at most."""
MOST_ITEMS = 65_536
"""How many items they have together at most; a signal in JSON has no room for more."""
MOST_BODY_BYTES = 8 * 1024 * 1024
"""How large a body may be, unpacked."""

_VERSION = 1
_CLOSES, _ORDERED, _TAGGED, _ATTEMPT = 1, 2, 4, 8
_JSON, _OTHER = 0, 1
_AS_IS, _ZLIB = 0, 1
_LEVEL = 1
# Compressing less takes time and saves nothing.
_LEAST_COMPRESSED = 64
# Beside an item's data and kind: the tag and length of the data, and what its entry has around it.
_AROUND = 24

_JSON_KIND = Payload(metadata={"encoding": b"json/plain"}).SerializeToString()
# The tag of a payload's data in protobuf.
_DATA = b"\x12"
_NUMBER = "(0|[1-9][0-9]{0,17})"
_ATTEMPT_ID = re.compile(
    rf"wfs1/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})/{_NUMBER}/{_NUMBER}/([^/]*)/(.*)",
    re.ASCII | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Header:
    """What stands in the header for one batch."""

    publisher_id: str
    sequence: int
    count: int
    tag: str
    close: bool
    order: str | None


@dataclass(frozen=True, slots=True)
class _Body:
    """The items of all batches of a message.

    Attributes:
        how: Whether it is compressed.
        size: How large it is, unpacked.
        packed: The body as it came.
        count: How many items it has.
        topics: Their topics.
        kinds: Their payloads without the data.
    """

    how: int
    size: int
    packed: bytes
    count: int
    topics: tuple[str, ...]
    kinds: tuple[bytes, ...]

    def entries(self) -> list[Entry]:
        """Unpack it. Items of a malformed body keep their offsets, but hold nothing."""
        try:
            return self._entries(self._unpacked())
        except MalformedError:
            return [(self.topics[0], "")] * self.count

    def _unpacked(self) -> bytes:
        body = self.packed
        if self.how == _ZLIB:
            inflater = zlib.decompressobj()
            try:
                body = inflater.decompress(body, self.size + 1)
            except zlib.error:
                raise MalformedError from None
            if not inflater.eof or inflater.unused_data:
                raise MalformedError
        if len(body) != self.size:
            raise MalformedError
        return body

    def _entries(self, body: bytes) -> list[Entry]:
        topics, kinds, reader = self.topics, self.kinds, Reader(body)
        topic_of = _column(reader, self.count, len(topics))
        kind_of = _column(reader, self.count, len(kinds))
        sizes = reader.numbers(self.count)
        if reader.at + sum(sizes) != len(body):
            raise MalformedError
        # What stands before the data: the same for all items of a kind that are as long.
        heads: dict[tuple[int, int], bytes] = {}
        entries: list[Entry] = []
        at = reader.at
        for topic, size, kind in zip(topic_of, sizes, kind_of, strict=True):
            head = heads.get((kind, size))
            if head is None:
                head = kinds[kind] + _DATA + number_bytes(size) if size else kinds[kind]
                heads[kind, size] = head
            end = at + size
            entries.append((topics[topic], encode_serialised(head + body[at:end])))
            at = end
        return entries


class PackedEntries(Sequence[Entry]):
    """The items of a batch, which are unpacked each time that they are looked at."""

    __slots__ = ("_body", "_end", "_start")

    def __init__(self, body: _Body, start: int, end: int) -> None:
        """Begin and end at these items of a message."""
        self._body = body
        self._start = start
        self._end = end

    def __len__(self) -> int:
        """How many they are; nothing is unpacked for that."""
        return self._end - self._start

    @property
    def topics(self) -> frozenset[str]:
        """The topics that they may have; nothing is unpacked for that."""
        return frozenset(self._body.topics)

    @property
    def text_bytes(self) -> int:
        """About how many bytes of text they take unpacked; nothing is unpacked for that."""
        body = self._body
        topic = sum(map(len, body.topics)) // max(1, len(body.topics))
        kind = sum(map(len, body.kinds)) // max(1, len(body.kinds))
        share = body.size * len(self) // max(1, body.count)
        return (share + (kind + _AROUND) * len(self)) * 4 // 3 + topic * len(self)

    @property
    def packed_bytes(self) -> int:
        """How many bytes they take as they came, with the other batches of the message."""
        return len(self._body.packed)

    def unpacked(self) -> list[Entry]:
        """Return them as a list."""
        return self._body.entries()[self._start : self._end]

    def __iter__(self) -> Iterator[Entry]:
        """Unpack them."""
        return iter(self.unpacked())

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        """Unpack them."""
        return self.unpacked()[index]

    def __eq__(self, other: object) -> bool:
        """Whether the items are the same."""
        return isinstance(other, Sequence) and self.unpacked() == list(other)

    __hash__ = None  # type: ignore[assignment]


def compact_payload(batches: Sequence[Batch]) -> Payload:
    """Return batches as the argument of one publish signal.

    Raises:
        ValueError: The data of an entry is no serialised payload.
    """
    topics: dict[str, int] = {}
    kinds: dict[bytes, int] = {}
    topic_of: list[int] = []
    kind_of: list[int] = []
    datas: list[bytes] = []
    for topic, data in chain.from_iterable(batch.entries for batch in batches):
        kind, content = _split(decode_serialised(data))
        topic_of.append(_numbered(topics, topic))
        kind_of.append(_numbered(kinds, kind))
        datas.append(content)
    header = [bytes([_VERSION]), number_bytes(len(batches)), *map(_header_bytes, batches)]
    header += [number_bytes(len(topics)), *map(text_bytes, topics)]
    header += [number_bytes(len(kinds)), *map(_kind_bytes, kinds)]
    body = [column_bytes(topic_of)] if len(topics) > 1 else []
    body += [column_bytes(kind_of)] if len(kinds) > 1 else []
    body += [number_bytes(len(data)) for data in datas]
    body += datas
    message = b"".join([*header, *_packed(b"".join(body))])
    return Payload(metadata={"encoding": ENCODING}, data=message)


def parse_compact(payload: Payload) -> list[Batch] | None:
    """Invert :func:`compact_payload`; None if the message is malformed."""
    reader = Reader(payload.data)
    try:
        if reader.byte() != _VERSION:
            return None
        headers = [_read_header(reader) for _ in range(reader.number(MOST_BATCHES))]
        count = sum(header.count for header in headers)
        if count > MOST_ITEMS:
            return None
        topics = tuple(reader.text() for _ in range(reader.number(count)))
        kinds = tuple(_read_kind(reader) for _ in range(reader.number(count)))
        if count and not (topics and kinds):
            return None
        how, size = reader.byte(), reader.number(MOST_BODY_BYTES)
        if how not in (_AS_IS, _ZLIB) or count > size:
            return None
        body = _Body(how, size, reader.rest(), count, topics, kinds)
    except MalformedError:
        return None
    ends = [0, *accumulate(header.count for header in headers)]
    return [
        Batch(
            PackedEntries(body, start, end),
            header.publisher_id,
            header.sequence,
            header.tag,
            header.close,
            header.order,
        )
        for header, (start, end) in zip(headers, pairwise(ends), strict=True)
    ]


def _numbered(numbers: dict[T, int], value: T) -> int:
    """Return the number of a value, in the order in which values were met first."""
    return numbers.setdefault(value, len(numbers))


def _kind_bytes(kind: bytes) -> bytes:
    """Write a payload without its data; nearly all are plain JSON."""
    return bytes([_JSON]) if kind == _JSON_KIND else bytes([_OTHER]) + block(kind)


def _read_kind(reader: Reader) -> bytes:
    what = reader.byte()
    if what == _OTHER:
        return reader.block()
    if what != _JSON:
        raise MalformedError
    return _JSON_KIND


def _split(payload: bytes) -> tuple[bytes, bytes]:
    """Return a serialised payload without its data, and the data."""
    try:
        if payload.startswith(_JSON_KIND + _DATA):
            size, at = number_at(payload, len(_JSON_KIND) + len(_DATA))
            if size and at + size == len(payload):
                return _JSON_KIND, payload[at:]
        message = Payload.FromString(payload)
    except (MalformedError, DecodeError) as err:
        raise ValueError("The data of an entry is no serialised payload") from err
    data = message.data
    message.ClearField("data")
    return message.SerializeToString(deterministic=True), data


def _header_bytes(batch: Batch) -> bytes:
    attempt = _ATTEMPT_ID.fullmatch(batch.publisher_id)
    flags = (
        (_CLOSES if batch.close else 0)
        | (_ORDERED if batch.order is not None else 0)
        | (_TAGGED if batch.tag else 0)
        | (_ATTEMPT if attempt is not None else 0)
    )
    parts = [bytes([flags])]
    if attempt is None:
        parts.append(text_bytes(batch.publisher_id))
    else:
        run_id, scheduled, number, nonce, activity_id = attempt.groups()
        parts += [uuid.UUID(run_id).bytes, number_bytes(int(scheduled)), number_bytes(int(number))]
        parts += [text_bytes(nonce), text_bytes(activity_id)]
    parts += [number_bytes(batch.sequence), number_bytes(len(batch.entries))]
    if batch.tag:
        parts.append(text_bytes(batch.tag))
    if batch.order is not None:
        parts.append(text_bytes(batch.order))
    return b"".join(parts)


def _read_header(reader: Reader) -> _Header:
    flags = reader.byte()
    if flags & _ATTEMPT:
        run_id = uuid.UUID(bytes=reader.take(16))
        numbers = f"{reader.number()}/{reader.number()}"
        publisher_id = f"wfs1/{run_id}/{numbers}/{reader.text()}/{reader.text()}"
    else:
        publisher_id = reader.text()
    sequence, count = reader.number(), reader.number(MOST_ITEMS)
    tag = reader.text() if flags & _TAGGED else ""
    order = reader.text() if flags & _ORDERED else None
    if flags >= 2 * _ATTEMPT or not (fits_state(publisher_id) and fits_state(order or "")):
        raise MalformedError
    return _Header(publisher_id, sequence, count, tag, bool(flags & _CLOSES), order)


def _packed(body: bytes) -> tuple[bytes, bytes, bytes]:
    """Return how the body is packed, how long it is unpacked, and the packed body."""
    if len(body) >= _LEAST_COMPRESSED:
        packed = zlib.compress(body, _LEVEL)
        if len(packed) < len(body):
            return bytes([_ZLIB]), number_bytes(len(body)), packed
    return bytes([_AS_IS]), number_bytes(len(body)), body


def _column(reader: Reader, count: int, values: int) -> list[int]:
    """Read which of so many values each item has; with only one there is no column."""
    return [0] * count if values <= 1 else reader.column(count, values)
