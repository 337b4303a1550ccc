"""Turns a value into its entry in a batch."""

from __future__ import annotations

from typing import Any

from ..errors import EncodeError, ItemTooLargeError
from ..log import wire
from ..log.entries import entry_json
from ..log.payloads import encode_serialised
from .values import Values


def entry_of(values: Values, topic: str, value: Any) -> str:
    """Return the entry of a batch for ``value``, as JSON text.

    Raises:
        EncodeError: The value cannot be encoded.
        ItemTooLargeError: It is too large for an item.
    """
    try:
        payload = values.serialise(value)
    except Exception as err:
        raise EncodeError(topic, value, err) from err
    entry = entry_json(topic, encode_serialised(payload))
    if len(entry) > wire.MAX_ITEM_BYTES:
        raise ItemTooLargeError(topic, len(entry), wire.MAX_ITEM_BYTES)
    return entry
