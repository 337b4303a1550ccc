"""Publish signals: batches, whole or in fragments, to payloads and back. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from temporalio.api.common.v1 import Payload

from . import compact, wire
from .entries import entries_in, entry_bytes
from .payloads import json_payload
from .publisher_ids import fits_state
from .strict_json import message_in
from .wire import Batch, Entry, Fragment


def batches_of(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Cut items into lists of as many as fit into one batch or record; a larger item is alone."""
    start = size = 0
    for index, (topic, data) in enumerate(entries):
        length = entry_bytes(topic, data)
        if index > start and size + length > wire.MAX_BATCH_BYTES:
            yield entries[start:index]
            start, size = index, 0
        size += length
    if start < len(entries):
        yield entries[start:]


def batch_payload(
    entries: Iterable[str],
    publisher_id: str,
    sequence: int,
    *,
    tag: str = "",
    close: bool = False,
    order: str | None = None,
) -> Payload:
    """Return the argument of a publish signal; see :class:`Batch`. Entries come as JSON text."""
    joined = ",".join(entries).encode()
    parts = batch_text(joined, publisher_id, sequence, tag=tag, close=close, order=order)
    return json_payload(b"".join(parts))


def batch_text(
    entries: bytes,
    publisher_id: str,
    sequence: int,
    *,
    tag: str = "",
    close: bool = False,
    order: str | None = None,
) -> tuple[bytes, bytes, bytes]:
    """Return a batch as JSON text, in three parts, of which the second one is ``entries``.

    So large entries are not copied. They come as JSON text as well, with commas between them.
    """
    more = ""
    if tag:
        more += f',"tag":{json.dumps(tag)}'
    if close:
        more += ',"close":true'
    if order is not None:
        more += f',"order":{json.dumps(order)}'
    after = f'],"publisher_id":{json.dumps(publisher_id)},"sequence":{sequence}{more}}}'
    return b'{"items":[', entries, after.encode()


def fragment_payloads(batch: Sequence[bytes], tag: str) -> Iterator[Payload]:
    """Cut a batch that is over the limit of one signal into fragments; see :class:`Fragment`.

    They are made one after the other, so that only one of them is in memory at a time.

    Args:
        batch: The parts of its text, which is ASCII.
        tag: The tag of the batch.
    """
    size = wire.FRAGMENT_CHARACTERS
    count = -(-sum(map(len, batch)) // size)
    for index in range(count):
        piece = _slice(batch, index * size, (index + 1) * size).decode()
        message = {"tag": tag, "part": [index, count], "text": piece}
        yield json_payload(json.dumps(message).encode())


def _slice(parts: Iterable[bytes], start: int, end: int) -> bytes:
    """Return a slice of what the parts make up together."""
    found = []
    for part in parts:
        found.append(part[max(start, 0) : max(end, 0)])
        start, end = start - len(part), end - len(part)
    return b"".join(found)


def parse_signal(payload: Payload) -> list[Batch] | Fragment | None:
    """Check a publish signal's argument, in any form; None if it is malformed.

    Workflow and readers both call this, so that they ignore the same signals.
    """
    if payload.metadata.get("encoding") == compact.ENCODING:
        return compact.parse_compact(payload)
    batch = parse_batch(payload)
    return [batch] if isinstance(batch, Batch) else batch


def parse_batch(payload: Payload) -> Batch | Fragment | None:
    """Check the argument of a publish signal in JSON; None if it is malformed."""
    message = message_in(payload)
    if not isinstance(message, dict):
        return None
    if "part" in message:
        return _fragment(message)
    publisher_id = message.get("publisher_id", "")
    sequence = message.get("sequence", 0)
    entries = entries_in(message.get("items", []))
    tag, order = message.get("tag", ""), message.get("order")
    if not isinstance(publisher_id, str) or type(sequence) is not int or entries is None:
        return None
    if not isinstance(tag, str) or not (order is None or isinstance(order, str)):
        return None
    if not (fits_state(publisher_id) and fits_state(order or "")):
        return None
    return Batch(entries, publisher_id, sequence, tag, message.get("close") is True, order)


def _fragment(message: dict[str, Any]) -> Fragment | None:
    match message:
        case {"part": [int(index), int(count)], "tag": str(tag), "text": str(text)} if (
            0 <= index < count <= wire.MAX_FRAGMENTS
        ):
            return Fragment(tag, index, count, text)
        case _:
            return None
