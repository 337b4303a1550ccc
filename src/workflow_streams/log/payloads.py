"""Payloads: an item's as kind and data, and as text within a message; that of a message. Pure.

Nearly all items of a stream have the same metadata. So an item's payload is handled in two pieces:
its kind, which is the payload without its data in serialised form, and its data. Items of a kind
share the former, and the latter can be passed on without a look at anything else.
"""

from __future__ import annotations

import binascii
from contextlib import suppress

from google.protobuf.message import DecodeError as ProtobufDecodeError
from temporalio.api.common.v1 import Payload

from .binary import MalformedError, number_at, number_bytes

JSON_KIND = Payload(metadata={"encoding": b"json/plain"}).SerializeToString()
"""The kind of plain JSON, as the default payload converter makes it."""
UNREADABLE_KIND = b"\0"
"""The kind of items whose text is no payload. They keep their offsets, and hold nothing."""

# What stands between kind and data in a serialised payload: the data's tag, then its length.
_DATA_TAG = b"\x12"
_JSON_START = len(JSON_KIND) + len(_DATA_TAG)
# All that comes before the data, for lengths that take one byte.
_SHORT_HEADS = [_DATA_TAG + bytes([size]) for size in range(0x80)]
_SHORT_JSON_HEADS = [JSON_KIND + head for head in _SHORT_HEADS]
_SHORT_JSON_START = _JSON_START + 1


def item_of(payload: Payload) -> tuple[bytes, bytes]:
    """Return the kind and data of a payload."""
    return split(payload.SerializeToString(deterministic=True))


def payload_of(kind: bytes, data: bytes) -> Payload:
    """Invert :func:`item_of`.

    Raises:
        ValueError: It is an item whose text is no payload.
    """
    try:
        return Payload.FromString(joined(kind, data))
    except ProtobufDecodeError as err:
        # What protobuf says of it is not about the text that came.
        raise ValueError("not a serialised payload") from err


def split(serialised: bytes) -> tuple[bytes, bytes]:
    """Return the kind and data of a serialised payload.

    Raises:
        ValueError: It is none.
    """
    size = len(serialised) - _SHORT_JSON_START
    if 0 < size < 0x80 and serialised.startswith(_SHORT_JSON_HEADS[size]):
        return JSON_KIND, serialised[_SHORT_JSON_START:]
    if serialised.startswith(JSON_KIND + _DATA_TAG):
        with suppress(MalformedError):
            size, at = number_at(serialised, _JSON_START)
            if size and at + size == len(serialised):
                return JSON_KIND, serialised[at:]
    try:
        message = Payload.FromString(serialised)
    except ProtobufDecodeError as err:
        raise ValueError(f"not a serialised payload: {err}") from err
    data = message.data
    message.ClearField("data")
    # Else the order of the metadata, and with it what a stream is made with, would be another one
    # in each process.
    return message.SerializeToString(deterministic=True), data


def joined(kind: bytes, data: bytes) -> bytes:
    """Return the payload of this kind and data, in serialised form."""
    if not data:
        return kind
    if len(data) < 0x80:
        return kind + _SHORT_HEADS[len(data)] + data
    return b"".join((kind, _DATA_TAG, number_bytes(len(data)), data))


def text_of(kind: bytes, data: bytes) -> str:
    """Return an item's payload as a message in JSON has it: serialised, in base64."""
    return binascii.b2a_base64(joined(kind, data), newline=False).decode("ascii")


def text_length(kind: bytes, data: bytes) -> int:
    """Return how long :func:`text_of` is."""
    size = len(data)
    head = 2 if size < 0x80 else len(_DATA_TAG) + (size.bit_length() + 6) // 7
    return (len(kind) + (size + head if size else 0) + 2) // 3 * 4


def item_in(text: str) -> tuple[bytes, bytes]:
    """Return the kind and data that :func:`text_of` made a text of.

    If it is any other text, the kind is :data:`UNREADABLE_KIND`.
    """
    if not text:
        return b"", b""
    try:
        return split(binascii.a2b_base64(text, strict_mode=True))
    except ValueError:
        return UNREADABLE_KIND, b""


def json_payload(data: bytes) -> Payload:
    """Wrap JSON bytes the way every default payload converter reads them."""
    return Payload(metadata={"encoding": b"json/plain"}, data=data)
