"""Gets an item's value from its payload: as JSON, to be spliced into an answer, or as bytes."""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Iterable

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload

from ...log.payloads import decode_payload, decode_serialised
from ...temporal.values import json_in
from .json_text import is_json_value

_JSON_ENCODINGS = frozenset({b"json/plain", b"json/protobuf"})
_MAX_BYTES = 16 * 1024 * 1024
# The memory that Python needs for an entry, besides the bytes in it.
_ENTRY_BYTES = 300


JsonValue = tuple[bytes, bytes]
"""An item's value as JSON, and further members for the object that holds it.

A value that is not JSON is given as base64, and the further members say how it is encoded.
"""


class JsonValues:
    """Keeps the values of items, the newest ones, bounded in bytes.

    Clients that read the same part of a stream get the same items, and checking whether a value is
    JSON takes longer than everything else that is done with it. So each is checked once.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        """Keep values of up to ``max_bytes``."""
        self._max_bytes = max_bytes
        # Not a plain dict: to find its oldest key, that goes over all keys that were dropped.
        self._known: OrderedDict[str, JsonValue] = OrderedDict()
        self.bytes = 0

    def of(self, items: Iterable[str]) -> list[JsonValue]:
        """Return the values of items.

        Args:
            items: The very strings that the feed holds. Python computes a string's hash only
                once, so such a string is found at once, however large it is.
        """
        known = self._known
        values: list[JsonValue] = []
        added = 0
        for data in items:
            value = known.get(data)
            if value is None:
                value = known[data] = json_value(data)
                added += len(data) + len(value[0]) + _ENTRY_BYTES
            values.append(value)
        if added:
            self.bytes += added
            self._bound()
        return values

    def _bound(self) -> None:
        while self.bytes > self._max_bytes:
            oldest, value = self._known.popitem(last=False)
            self.bytes -= len(oldest) + len(value[0]) + _ENTRY_BYTES


def json_value(data: str) -> JsonValue:
    """Return an item's value as JSON. A JSON payload's bytes are kept, if they really are JSON."""
    try:
        raw = decode_serialised(data)
        plain = json_in(raw)
        if plain is not None and is_json_value(plain):
            return plain, b""
        payload = Payload.FromString(raw)
    except (ValueError, DecodeError):
        return b"null", b',"encoding":"unreadable"'
    encoding = payload.metadata.get("encoding", b"")
    if encoding == b"binary/null":
        return b"null", b""
    if encoding in _JSON_ENCODINGS and plain is None and is_json_value(payload.data):
        return payload.data, b""
    name = json.dumps(encoding.decode(errors="replace")).encode()
    return b'"%s"' % base64.b64encode(payload.data), b',"encoding":' + name


def content(data: str) -> bytes:
    """Return an item's value as the bytes of its payload; empty if it is not a payload."""
    try:
        return decode_payload(data).data
    except ValueError:
        return b""
