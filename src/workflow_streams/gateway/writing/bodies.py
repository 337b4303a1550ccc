"""Bodies of writes as entries of a batch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from temporalio.api.common.v1 import Payload

from ... import wire
from ..frames import Shape
from ..json_text import MOST_NESTING, is_shallow
from ..problems import InvalidRequestError
from .appends import in_bounds

_SPACE = " \t\n\r"
_MAX_MESSAGES = 1_000_000
_LARGE_BYTES = 64 * 1024


async def read_entries(body: bytes, shape: Shape, topic: str) -> list[str]:
    """Do :func:`entries_of` without keeping others waiting while a large body is taken apart."""
    if len(body) < _LARGE_BYTES:
        return entries_of(body, shape, topic)
    return await asyncio.to_thread(entries_of, body, shape, topic)


def entries_of(body: bytes, shape: Shape, topic: str) -> list[str]:
    """Return the entries, in JSON text, that a body makes; none for an empty JSON array.

    Args:
        body: As it was sent. JSON arrays are flattened by one level; each value keeps the
            bytes that it was sent as.
        shape: The stream's.
        topic: Topic of all of them.

    Raises:
        InvalidRequestError: The stream holds JSON, and this is not.
        TooLargeError: They are more than a batch may hold.
    """
    if shape.json:
        payloads: Iterator[Payload] = map(wire.json_payload, json_values(body))
    else:
        payloads = iter([content_payload(body)] if body else [])
    entries = (wire.entry_json(topic, wire.encode_payload(payload)) for payload in payloads)
    return list(in_bounds(entries))


def content_payload(data: bytes) -> Payload:
    """Wrap bytes the way every default payload converter reads them."""
    return Payload(metadata={"encoding": b"binary/plain"}, data=data)


def json_values(body: bytes) -> list[bytes]:
    """Return the values in a body, each as it was sent.

    Raises:
        InvalidRequestError: It is not JSON in UTF-8, or deeper than an answer may be.
    """
    try:
        text = body.decode()
        values = [value.encode() for value in _values(text)]
    except (ValueError, RecursionError):
        # What is wrong with it may quote from it, so it stays here.
        raise InvalidRequestError("The body is not JSON.") from None
    if not all(map(is_shallow, values)):
        raise InvalidRequestError(f"A value has at most {MOST_NESTING} levels of nesting.")
    return values


def _values(text: str) -> list[str]:
    start = _skip(text, 0)
    if not text.startswith("[", start):
        _, end = _decode(text, start)
        _require_end(text, end)
        return [text[start:end]]
    values: list[str] = []
    at = _skip(text, start + 1)
    if text.startswith("]", at):
        _require_end(text, at + 1)
        return values
    while True:
        _, end = _decode(text, at)
        values.append(text[at:end])
        if len(values) > _MAX_MESSAGES:
            raise ValueError("too many values")
        at = _skip(text, end)
        if text.startswith("]", at):
            _require_end(text, at + 1)
            return values
        if not text.startswith(",", at):
            raise ValueError("no comma")
        at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _require_end(text: str, at: int) -> None:
    if _skip(text, at) != len(text):
        raise ValueError("more than one value")


def _no_constant(name: str) -> Any:
    raise ValueError(name)


# Numbers need not be understood, only found; and Python's NaN is no JSON.
_decode = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant).raw_decode
