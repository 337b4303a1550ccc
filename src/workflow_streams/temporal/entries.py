"""Turns a value into its entry in a batch."""

from __future__ import annotations

from typing import Any

from ..errors import EncodeError, ItemTooLargeError
from ..log import wire
from ..log.entries import entry_bytes
from ..log.wire import Entry
from .values import Values

# An item is larger as JSON, in which its size is limited: by a third, and by some hundred bytes.
_SURELY_FITS = wire.MAX_ITEM_BYTES // 2
_USUAL_TOPIC = 1024


def encoded_entry(values: Values, topic: str, value: Any) -> Entry:
    """Return the entry of a batch for ``value``.

    Raises:
        EncodeError: The value cannot be encoded.
        ItemTooLargeError: It is too large for an item.
    """
    try:
        kind, data = values.encode(value)
    except Exception as err:
        raise EncodeError(topic, value, err) from err
    if len(kind) + len(data) > _SURELY_FITS or len(topic) > _USUAL_TOPIC:
        size = entry_bytes(topic, kind, data) - 1
        if size > wire.MAX_ITEM_BYTES:
            raise ItemTooLargeError(topic, size, wire.MAX_ITEM_BYTES)
    return topic, kind, data
