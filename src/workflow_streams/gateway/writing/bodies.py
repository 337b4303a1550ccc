"""Bodies of writes as entries of a batch.

A parser goes over a body and builds nothing from it; then it is cut into its values. So a body
that is made to be costly to build costs no more than any other of its size.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder
from temporalio.api.common.v1 import Payload

from ...hosted.appends import content_payload, in_bounds
from ...log import wire
from ..formats.frames import Shape
from ..formats.json_text import MOST_NESTING, TEXT, is_json, is_shallow
from ..refusals.problems import InvalidRequestError

_SPACE = b" \t\n\r"
_LARGE_BYTES = 64 * 1024
# Over so many signs that part and nest values, they are not all cut out at once: the thread that
# does it lets no other run meanwhile, and each takes some memory beside its bytes.
_MOST_AT_ONCE = 500_000

_cut_at_once = Decoder(list[Raw]).decode

_PIECES = re.compile(
    # An array or object without others in it goes as one piece.
    rb"%b|([\[{](?:[^\"\[\]{}]++|%b)*+[\]}])|([\[{])|([\]}])|(,)" % (TEXT, TEXT),
    re.DOTALL,
)
_FLAT, _OPENED, _CLOSED, _COMMA = 1, 2, 3, 4

# One at a time: what a body becomes takes several times its size.
_large_bodies = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-bodies")


async def read_entries(body: bytes, shape: Shape, topic: str) -> list[str]:
    """Do :func:`entries_of` without keeping others waiting while a large body is taken apart."""
    if len(body) < _LARGE_BYTES:
        return entries_of(body, shape, topic)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_large_bodies, entries_of, body, shape, topic)


def entries_of(body: bytes, shape: Shape, topic: str) -> list[str]:
    """Return the entries, in JSON text, that a body makes; none for an empty JSON array.

    Args:
        body: As it was sent. JSON arrays are flattened by one level; each value keeps the
            bytes that it was sent as.
        shape: The stream's.
        topic: Topic of all of them.

    Raises:
        InvalidRequestError: The stream holds JSON, and this is not.
        BatchTooLargeError: They are more than a batch may hold.
    """
    if shape.json:
        payloads: Iterator[Payload] = map(wire.json_payload, _json_values(body))
    else:
        payloads = iter([content_payload(body)] if body else [])
    entries = (wire.entry_json(topic, wire.encode_payload(payload)) for payload in payloads)
    return list(in_bounds(entries))


def json_values(body: bytes) -> list[bytes]:
    """Return the values in a body, each as it was sent.

    Raises:
        InvalidRequestError: It is not JSON in UTF-8, or deeper than an answer may be.
    """
    return list(_json_values(body))


def _json_values(body: bytes) -> Iterator[bytes]:
    if not is_json(body):
        # What is wrong with it may quote from it, so it stays here.
        raise InvalidRequestError("The body is not JSON.")
    array = body.strip(_SPACE)
    if not array.startswith(b"["):
        array = b"[" + array + b"]"
    if array.count(b",") + array.count(b"[") + array.count(b"{") > _MOST_AT_ONCE:
        return _cut(array)
    try:
        values: list[Any] = _cut_at_once(array)
    except DecodeError:  # the escape of half a character, which its parser does not take
        return _cut(array)
    return map(_shallow, map(bytes, values))


def _shallow(value: bytes) -> bytes:
    if not is_shallow(value):
        raise _too_deep()
    return value


def _cut(array: bytes) -> Iterator[bytes]:
    """Yield the values of an array that is known to be JSON."""
    start, depth = 1, 1
    for piece in _PIECES.finditer(array, start):
        kind = piece.lastindex
        if kind is None:  # a text
            continue
        if kind == _FLAT:
            if depth > MOST_NESTING:
                raise _too_deep()
        elif kind == _OPENED:
            depth += 1
            if depth > MOST_NESTING:  # and there is another one in it
                raise _too_deep()
        elif kind == _CLOSED:
            depth -= 1
        elif depth == 1:
            yield array[start : piece.start()].strip(_SPACE)
            start = piece.end()
    if last := array[start:-1].strip(_SPACE):
        yield last


def _too_deep() -> InvalidRequestError:
    return InvalidRequestError(f"A value has at most {MOST_NESTING} levels of nesting.")
