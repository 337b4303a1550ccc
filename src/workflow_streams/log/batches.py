"""Publish signals: batches to payloads, in JSON, and back from any form. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from temporalio.api.common.v1 import Payload

from . import compact, wire
from .entries import entries_in, entries_json, entry_bytes
from .payloads import json_payload
from .publisher_ids import fits_state
from .strict_json import message_in
from .wire import Batch, Entry, Fragment


def batches_of(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Cut items into lists of as many as fit into one batch or record; a larger item is alone."""
    start = size = 0
    for index, entry in enumerate(entries):
        length = entry_bytes(*entry)
        if index > start and size + length > wire.MAX_BATCH_BYTES:
            yield entries[start:index]
            start, size = index, 0
        size += length
    if start < len(entries):
        yield entries[start:]


def batch_payload(
    entries: Iterable[Entry],
    publisher_id: str,
    sequence: int,
    *,
    tag: str = "",
    close: bool = False,
    order: str | None = None,
) -> Payload:
    """Return a batch as the argument of a publish signal, in JSON; see :class:`Batch`."""
    more = ""
    if tag:
        more += f',"tag":{json.dumps(tag)}'
    if close:
        more += ',"close":true'
    if order is not None:
        more += f',"order":{json.dumps(order)}'
    after = f'],"publisher_id":{json.dumps(publisher_id)},"sequence":{sequence}{more}}}'
    return json_payload(f'{{"items":[{",".join(entries_json(entries))}{after}'.encode())


def parse_signal(payload: Payload) -> list[Batch] | Fragment | None:
    """Check a publish signal's argument, in any form; None if it is malformed.

    Workflow and readers both call this, so that they ignore the same signals.
    """
    if payload.metadata.get("encoding") == compact.ENCODING:
        return compact.parse_compact(payload.data)
    batch = _parse_json(payload)
    return None if batch is None else [batch]


def _parse_json(payload: Payload) -> Batch | None:
    message = message_in(payload)
    if not isinstance(message, dict):
        return None
    publisher_id = message.get("publisher_id", "")
    sequence = message.get("sequence", 0)
    entries = entries_in(message.get("items", []))
    tag, order = message.get("tag", ""), message.get("order")
    if not isinstance(publisher_id, str) or type(sequence) is not int or entries is None:
        return None
    if not isinstance(tag, str) or not (order is None or isinstance(order, str)):
        return None
    if not (fits_state(publisher_id) and fits_state(order or "")):
        return None
    return Batch(entries, publisher_id, sequence, tag, message.get("close") is True, order)
