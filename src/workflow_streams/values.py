"""Values to payloads and back, as the user's payload converter does it.

Plain JSON under the SDK's default converter takes a short cut: the SDK asks five converters in
turn and looks the type up again for each item, which is most of the time that an item takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    AdvancedJSONEncoder,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadConverter,
)

# Types whose JSON the default converter writes as the json module does, and reads back as is.
_SCALARS = frozenset({str, int, float, bool})


class Values:
    """Encodes and decodes by one payload converter."""

    def __init__(self, converter: PayloadConverter) -> None:
        """Use ``converter``, that of a client or of the workflow."""
        self._converter = converter
        self._plain = _is_default(converter)
        self._template = Payload(metadata={"encoding": b"json/plain"})

    def serialise(self, value: Any) -> bytes:
        """Return the serialised payload of ``value``; a ready payload passes through."""
        if self._plain and type(value) in _SCALARS:
            self._template.data = json.dumps(value).encode()
            return self._template.SerializeToString()
        if isinstance(value, Payload):
            return value.SerializeToString()
        return self._converter.to_payload(value).SerializeToString()

    def decoder(self, type_: Any) -> Callable[[Payload], Any]:
        """Return a function that turns payloads into values of ``type_`` (``Any``: untyped)."""
        from_payload = self._converter.from_payload

        def whole(payload: Payload) -> Any:
            return from_payload(payload) if type_ is Any else from_payload(payload, type_)

        if not self._plain or not (type_ is Any or type_ in _SCALARS):
            return whole

        def decode(payload: Payload) -> Any:
            if payload.metadata.get("encoding") != b"json/plain":
                return whole(payload)
            try:
                value = json.loads(payload.data.decode())
            except ValueError:
                return whole(payload)  # for the converter's own error
            return value if type_ is Any or type(value) is type_ else whole(payload)

        return decode


def _is_default(converter: PayloadConverter) -> bool:
    # The SDK wraps the converter of a client for types that have a transfer type.
    inner = getattr(converter, "_inner_payload_converter", converter)
    if type(inner) is not DefaultPayloadConverter:
        return False
    plain = inner.converters.get(b"json/plain")
    # The defaults can be exchanged for all of a process, with settings that show only here.
    return (
        type(plain) is JSONPlainPayloadConverter
        and getattr(plain, "_encoder", None) is AdvancedJSONEncoder
        and getattr(plain, "_decoder", "unknown") is None
        and not getattr(plain, "_custom_type_converters", True)
    )
