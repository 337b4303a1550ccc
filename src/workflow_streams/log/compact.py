"""Publish signals in the compact form: a header, and the items of all batches in columns. Pure.

The header has all that batches are judged by, so that a workflow need not look at the items.
docs/wire.md describes the form.

All processes read a message alike, or find it malformed. How large the items become is known before
they are unpacked.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from temporalio.api.common.v1 import Payload

from . import wire
from .binary import MalformedError, Reader, number_bytes, text_bytes
from .packed import Body, Bounds, PackedEntries, Packer, read_body
from .publisher_ids import fits_state
from .wire import Batch, Fragment

ENCODING = b"binary/wfs1"
"""The ``encoding`` in the metadata of the payload."""

MOST_BATCHES = 128
"""How many batches a message has at most: each may bring a publisher, which a run remembers."""

SIGNAL_BOUNDS = Bounds(65_536, 8 * 1024 * 1024)
"""What one signal may hold; in JSON it has no room for more."""
WHOLE_BOUNDS = Bounds(512 * 1024, 32 * 1024 * 1024)
"""What a message may hold that comes in fragments."""

_BATCHES, _FRAGMENT = 1, 2
_CLOSES, _ORDERED, _TAGGED, _ATTEMPT = 1, 2, 4, 8

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


def compact_payload(batches: Sequence[Batch]) -> Payload:
    """Return batches as the argument of one publish signal."""
    return _payload(b"".join(_message(batches, _body_of(batches))))


def compact_payloads(batch: Batch) -> Iterator[Payload]:
    """Yield the arguments of the signals that carry a batch: one, or its fragments if it is large.

    They are made one after the other, so that only one of them is in memory at a time.
    """
    body = _body_of([batch])
    message = b"".join(_message([batch], body))
    bounds, size = SIGNAL_BOUNDS, wire.FRAGMENT_BYTES
    if len(message) <= size and bounds.hold(body):
        yield _payload(message)
        return
    count = -(-len(message) // size)
    for index in range(count):
        place = number_bytes(index) + number_bytes(count)
        piece = message[index * size : (index + 1) * size]
        yield _payload(b"".join((bytes([_FRAGMENT]), text_bytes(batch.tag), place, piece)))


def parse_compact(message: bytes) -> list[Batch] | Fragment | None:
    """Read the data of a publish signal's payload; None if it is malformed."""
    if message.startswith(bytes([_FRAGMENT])):
        return _parse_fragment(message)
    return _parse_batches(message, SIGNAL_BOUNDS)


def parse_whole(message: bytes) -> list[Batch] | None:
    """Read a message that came in fragments; None if it is malformed."""
    return _parse_batches(message, WHOLE_BOUNDS)


def _payload(message: bytes) -> Payload:
    return Payload(metadata={"encoding": ENCODING}, data=message)


def _body_of(batches: Sequence[Batch]) -> Body:
    packed = batches[0].entries if len(batches) == 1 else None
    if isinstance(packed, PackedEntries) and packed.are_all:
        return packed.body
    packer = Packer()
    for batch in batches:
        packer.add(batch.entries)
    return packer.packed().body


def _message(batches: Sequence[Batch], body: Body) -> Iterator[bytes]:
    yield bytes([_BATCHES])
    yield number_bytes(len(batches))
    yield from map(_header_bytes, batches)
    yield from body.written()


def _parse_batches(message: bytes, bounds: Bounds) -> list[Batch] | None:
    reader = Reader(message)
    try:
        if reader.byte() != _BATCHES:
            return None
        headers = [_read_header(reader, bounds) for _ in range(reader.number(MOST_BATCHES))]
        count = sum(header.count for header in headers)
        body = read_body(reader, count, bounds)
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


def _parse_fragment(message: bytes) -> Fragment | None:
    reader = Reader(message)
    try:
        reader.byte()
        tag = reader.text()
        index, count = reader.number(), reader.number(wire.MAX_FRAGMENTS)
        piece = reader.rest()
    except MalformedError:
        return None
    return Fragment(tag, index, count, piece) if index < count else None


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


def _read_header(reader: Reader, bounds: Bounds) -> _Header:
    flags = reader.byte()
    if flags & _ATTEMPT:
        run_id = uuid.UUID(bytes=reader.take(16))
        numbers = f"{reader.number()}/{reader.number()}"
        publisher_id = f"wfs1/{run_id}/{numbers}/{reader.text()}/{reader.text()}"
    else:
        publisher_id = reader.text()
    sequence, count = reader.number(), reader.number(bounds.items)
    tag = reader.text() if flags & _TAGGED else ""
    order = reader.text() if flags & _ORDERED else None
    if flags >= 2 * _ATTEMPT or not (fits_state(publisher_id) and fits_state(order or "")):
        raise MalformedError
    return _Header(publisher_id, sequence, count, tag, bool(flags & _CLOSES), order)
