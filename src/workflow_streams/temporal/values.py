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

from ..log.payloads import JSON_KIND, item_of, payload_of

DecodeValue = Callable[[bytes, bytes], Any]
"""Turns the kind and data of an item into its value."""

_raw_decode = json.JSONDecoder().raw_decode

# Types whose JSON the default converter writes as the json module does, and reads back as is.
_SCALARS = frozenset({str, int, float, bool})


class Values:
    """Encodes and decodes by one payload converter."""

    def __init__(self, converter: PayloadConverter) -> None:
        """Use ``converter``, that of a client or of the workflow."""
        self._converter = converter
        self._plain = _is_default(converter)

    def encode(self, value: Any) -> tuple[bytes, bytes]:
        """Return kind and data of the payload of ``value``; a ready payload passes through."""
        if self._plain and type(value) in _SCALARS:
            return JSON_KIND, json.dumps(value).encode()
        return item_of(value if isinstance(value, Payload) else self._converter.to_payload(value))

    def decoder(self, type_: Any) -> DecodeValue:
        """Return a function that turns items, by kind and data, into values of ``type_``.

        ``Any`` leaves the type to the data; ``RawValue`` leaves the payload as it is.
        """
        from_payload = self._converter.from_payload

        def whole(kind: bytes, data: bytes) -> Any:
            payload = payload_of(kind, data)
            return from_payload(payload) if type_ is Any else from_payload(payload, type_)

        if type_ is RawValue:
            return lambda kind, data: RawValue(payload_of(kind, data))
        if not self._plain or not (type_ is Any or type_ in _SCALARS):
            return whole

        def decode(kind: bytes, data: bytes) -> Any:
            if kind == JSON_KIND:
                try:
                    value = _json_value(data.decode())
                    if type_ is Any or type(value) is type_:
                        return value
                except ValueError:
                    pass  # the converter has its own error for it
            return whole(kind, data)

        return decode


def _json_value(text: str) -> Any:
    """Do what ``json.loads`` does, which takes twice as long to look for space around the value."""
    try:
        value, end = _raw_decode(text)
    except ValueError:
        return json.loads(text)
    return value if end == len(text) else json.loads(text)


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
