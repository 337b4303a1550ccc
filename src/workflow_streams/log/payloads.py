"""Payloads: an item's as text within a message, and that of a message, from its JSON. Pure."""

from __future__ import annotations

import binascii

from google.protobuf.message import DecodeError as ProtobufDecodeError
from temporalio.api.common.v1 import Payload


def encode_payload(payload: Payload) -> str:
    """Return the wire form of one item's payload."""
    return encode_serialised(payload.SerializeToString())


def encode_serialised(payload: bytes) -> str:
    """Return the wire form of one item's payload, given in serialised form."""
    return binascii.b2a_base64(payload, newline=False).decode("ascii")


def decode_serialised(data: str) -> bytes:
    """Invert :func:`encode_serialised`; raise ValueError if it is no base64."""
    return binascii.a2b_base64(data, strict_mode=True)


def decode_payload(data: str) -> Payload:
    """Invert :func:`encode_payload`; raise ValueError if it is no payload."""
    try:
        return Payload.FromString(decode_serialised(data))
    except (ValueError, ProtobufDecodeError) as err:
        raise ValueError(f"not a serialised payload: {err}") from err


def json_payload(data: bytes) -> Payload:
    """Wrap JSON bytes the way every default payload converter reads them."""
    return Payload(metadata={"encoding": b"json/plain"}, data=data)
