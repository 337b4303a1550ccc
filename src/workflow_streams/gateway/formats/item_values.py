"""An item's value, out of its payload: as JSON, to be spliced into an answer, or as bytes."""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Iterable

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload

from ...log import wire
from ...temporal.values import json_in
from .json_text import is_json_value

_JSON_ENCODINGS = frozenset({b"json/plain", b"json/protobuf"})
_MAX_BYTES = 16 * 1024 * 1024
# What Python takes for an entry, besides the bytes in it.
_ENTRY_BYTES = 300


JsonValue = tuple[bytes, bytes]
"""An item's value as JSON (of what is no JSON, its bytes as base64), and further members of the
object that it stands in, which explain a value that is no JSON."""


class JsonValues:
    """Values of items, the newest of them, bounded in bytes.

    Clients that read the same stretch of a stream get the same items, and to see whether one is
    JSON takes longer than all else that is done with it. So it is done once.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        """Keep up to ``max_bytes``."""
        self._max_bytes = max_bytes
        # A plain dict goes over all that it has dropped whenever it is asked for its oldest key.
        self._known: OrderedDict[str, JsonValue] = OrderedDict()
        self.bytes = 0

    def of(self, items: Iterable[str]) -> list[JsonValue]:
        """Return the values of items.

        Args:
            items: As the feed has them. Python hashes a string once only, so one that the feed
                keeps is found at once, however large it is.
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
    """Return an item's value as JSON: that of a JSON payload as its bytes are, if they are JSON."""
    try:
        raw = wire.decode_serialised(data)
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
    """Return an item's value as its payload's bytes; none of what is no payload."""
    try:
        return wire.decode_payload(data).data
    except ValueError:
        return b""
