"""Turns the bodies of writes into the entries of a batch.

A parser checks a body without building objects from it, then the body is cut into its values. So a
body designed to be expensive to build costs no more than any other of its size.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from ...hosted.appends import MAX_BATCH_BYTES, content_payload, counted_bytes, in_bounds
from ...log.entries import entry_of
from ...log.packed import PackedEntries, pack
from ...log.payloads import JSON_KIND, json_payload
from ..formats.frames import Shape
from ..formats.json_text import MOST_NESTING, TEXT, is_json, is_shallow
from ..refusals.problems import InvalidRequestError

_SPACE = b" \t\n\r"
# Larger bodies are taken apart in a thread, and so are those with more commas: each value takes two
# microseconds.
_LARGE_BYTES = 64 * 1024
_MOST_COMMAS = 1_000
# If a body has more commas and opening brackets than this, its values are not cut out all at once:
# that would block all other threads, and each value takes some memory besides its bytes.
_MOST_AT_ONCE = 50_000
_cut_at_once = Decoder(list[Raw]).decode

_PIECES = re.compile(
    # An array or object without nested ones is one piece.
    rb"%b|([\[{](?:[^\"\[\]{}]++|%b)*+[\]}])|([\[{])|([\]}])|(,)" % (TEXT, TEXT),
    re.DOTALL,
)
_FLAT, _OPENED, _CLOSED, _COMMA = 1, 2, 3, 4

# Only one at a time, since the entries take several times the size of the body.
_large_bodies = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-bodies")


def most_bytes(body: bytes, shape: Shape, topic: str) -> int:
    """Return how large the entries of a body are at most, without looking closely."""
    if not body:
        return 0
    each = counted_bytes(*entry_of(topic, (json_payload if shape.json else content_payload)(b"")))
    values = body.count(b",") + 1 if shape.json else 1
    return min(len(body) + values * each, MAX_BATCH_BYTES)


async def read_entries(body: bytes, shape: Shape, topic: str) -> PackedEntries:
    """Do :func:`entries_of`, in a thread if it takes long, so that other requests go on."""
    many = shape.json and body.count(b",") > _MOST_COMMAS
    if len(body) < _LARGE_BYTES and not many:
        return entries_of(body, shape, topic)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_large_bodies, entries_of, body, shape, topic)


def entries_of(body: bytes, shape: Shape, topic: str) -> PackedEntries:
    """Return the entries of a body; none for an empty JSON array.

    Args:
        body: The body, as it was sent. A JSON array is flattened by one level. Each value keeps
            the bytes in which it was sent.
        shape: The shape of the stream.
        topic: The topic of all entries.

    Raises:
        InvalidRequestError: The stream holds JSON, and the body is not JSON.
        BatchTooLargeError: The entries are more than a batch may hold.
    """
    if shape.json:
        return pack(in_bounds((topic, JSON_KIND, value) for value in json_values(body)))
    return pack(in_bounds([entry_of(topic, content_payload(body))] if body else []))


def json_values(body: bytes) -> Iterator[bytes]:
    """Yield the values in a body, each in the bytes in which it was sent.

    Raises:
        InvalidRequestError: It is not JSON in UTF-8, or nested deeper than an answer may be.
    """
    if not is_json(body):
        # The parser's message may quote from the body, so it is not passed on.
        raise InvalidRequestError("The body is not JSON.")
    array = body.strip(_SPACE)
    if not array.startswith(b"["):
        array = b"[" + array + b"]"
    if array.count(b",") + array.count(b"[") + array.count(b"{") > _MOST_AT_ONCE:
        return _cut(array)
    try:
        values: list[Any] = _cut_at_once(array)
    except DecodeError:  # an escape of half a character, which this parser refuses
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
            if depth > MOST_NESTING:  # at least one more is nested in it
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
