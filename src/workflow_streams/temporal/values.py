"""Values to payloads and back, as the user's payload converter does it.

Plain JSON under the SDK's default converter takes a short cut: the SDK asks five converters in
turn and looks the type up again for each item, which is most of the time that an item takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import (
    AdvancedJSONEncoder,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadConverter,
)

from ..log.payloads import decode_payload, decode_serialised

# Types whose JSON the default converter writes as the json module does, and reads back as is.
_SCALARS = frozenset({str, int, float, bool})
# How a serialised payload of plain JSON begins: its metadata, then the tag of its data.
_JSON_HEAD = Payload(metadata={"encoding": b"json/plain"}).SerializeToString() + b"\x12"
_JSON_START = len(_JSON_HEAD)
# With the length of the data after it, where that is one byte.
_SHORT_HEADS = [_JSON_HEAD + bytes([size]) for size in range(0x80)]
_LENGTH_BYTES = 5


class Values:
    """Encodes and decodes by one payload converter."""

    def __init__(self, converter: PayloadConverter) -> None:
        """Use ``converter``, that of a client or of the workflow."""
        self._converter = converter
        self._plain = _is_default(converter)

    def serialise(self, value: Any) -> bytes:
        """Return the serialised payload of ``value``; a ready payload passes through."""
        if self._plain and type(value) in _SCALARS:
            return serialised_json(json.dumps(value).encode())
        if isinstance(value, Payload):
            return value.SerializeToString()
        return self._converter.to_payload(value).SerializeToString()

    def decoder(self, type_: Any) -> Callable[[str], Any]:
        """Return a function that turns items' wire form into values of ``type_``.

        ``Any`` leaves the type to the data; ``RawValue`` leaves the payload as it is.
        """
        from_payload = self._converter.from_payload

        def whole(data: str) -> Any:
            payload = decode_payload(data)
            return from_payload(payload) if type_ is Any else from_payload(payload, type_)

        if type_ is RawValue:
            return lambda data: RawValue(decode_payload(data))
        if not self._plain or not (type_ is Any or type_ in _SCALARS):
            return whole

        def decode(data: str) -> Any:
            try:
                found = json_in(decode_serialised(data))
                if found is not None:
                    value = json.loads(found.decode())
                    if type_ is Any or type(value) is type_:
                        return value
            except ValueError:
                pass  # the converter has its own error for it
            return whole(data)

        return decode


def serialised_json(data: bytes) -> bytes:
    """Return the serialised payload of plain JSON: what the message itself would write.

    It is made by hand, since a message that is reused keeps the memory of all that it has held.
    """
    head, size = bytearray(_JSON_HEAD), len(data)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + data


def json_in(raw: bytes) -> bytes | None:
    """Return the data of a serialised payload that is plain JSON and nothing else; else None."""
    size = len(raw) - _JSON_START - 1
    if 0 < size < 0x80 and raw.startswith(_SHORT_HEADS[size]):
        return raw[_JSON_START + 1 :]
    if not raw.startswith(_JSON_HEAD):
        return None
    size = shift = 0
    # Protobuf has no longer lengths, and adding one up would take the square of its bytes.
    for at in range(_JSON_START, min(len(raw), _JSON_START + _LENGTH_BYTES)):
        byte = raw[at]
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            data = raw[at + 1 :]
            return data if size and len(data) == size else None
        shift += 7
    return None


def _is_default(converter: PayloadConverter) -> bool:
    # The SDK wraps the converter of a client for types that have a transfer type.
    inner = getattr(converter, "_inner_payload_converter", converter)
    if type(inner) is not DefaultPayloadConverter:
        return False
    plain = inner.converters.get(b"json/plain")
    # Settings for all of a process can replace the defaults; they show only here.
    return (
        type(plain) is JSONPlainPayloadConverter
        and getattr(plain, "_encoder", None) is AdvancedJSONEncoder
        and getattr(plain, "_decoder", "unknown") is None
        and not getattr(plain, "_custom_type_converters", True)
    )
