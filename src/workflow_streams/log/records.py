"""Memo records, to payloads and back; state that is handed over has some of their fields. Pure.

Those that open a run are JSON. All others, of which there are many, have the compact form, as
publish signals have it.
"""

from __future__ import annotations

import json
from typing import Any

from temporalio.api.common.v1 import Payload

from .binary import MalformedError, Reader, number_bytes
from .compact import SIGNAL_BOUNDS
from .entries import entries_bytes, entries_in
from .packed import Body, pack, read_body
from .payloads import json_payload, text_of
from .ranges import packed, unpacked
from .strict_json import message_in
from .wire import RECORD_VERSION, Closing, Opening, Record, Rules, RunRef

ENCODING = b"binary/plain"
"""The ``encoding`` of records in the compact form.

SDKs for other languages decode the whole memo of a workflow that they describe, and
fail if they do not know one of its encodings. So it has to be one that all of them know.
"""

# The first byte of a record in the compact form, beside those of publish signals (compact.py).
_RECORD = 3
_RING = 1


def record_payload(record: Record) -> Payload:
    """Encode a memo record."""
    if record.opening is None:
        body = pack(record.entries).body
        if SIGNAL_BOUNDS.hold(body):
            return _compact(record, body)
    return json_payload(json.dumps(_fields(record), separators=(",", ":")).encode())


def record_bytes(record: Record) -> int:
    """Return how long a record is in JSON, whatever form it has.

    A workflow decides by it, so it must depend neither on the form nor on how well items pack.
    """
    entries = record.entries
    items = len(',"items":[]') + entries_bytes(entries) - 1 if entries else 0
    fields = _fields(Record(record.base, [], record.opening, record.ring))
    return len(json.dumps(fields, separators=(",", ":"))) + items


def _compact(record: Record, body: Body) -> Payload:
    numbers = number_bytes(record.base) + number_bytes(body.count)
    head = bytes([_RECORD, _RING if record.ring else 0])
    data = b"".join((head, numbers, *body.written()))
    return Payload(metadata={"encoding": ENCODING}, data=data)


def _parse_compact(message: bytes) -> Record | None:
    reader = Reader(message)
    try:
        what, ring = reader.byte(), reader.byte()
        base, count = reader.number(), reader.number()
        if what != _RECORD or ring > _RING:
            return None
        body = read_body(reader, count, SIGNAL_BOUNDS)
    except MalformedError:
        return None
    return Record(base, body.entries(), None, ring == _RING)


def _fields(record: Record) -> dict[str, Any]:
    message: dict[str, Any] = {"v": RECORD_VERSION, "base": record.base}
    if record.ring:
        message["ring"] = True
    if record.entries:
        message["items"] = [{"topic": t, "data": text_of(k, d)} for t, k, d in record.entries]
    if record.opening is not None:
        opening = record.opening
        message["open"] = {
            "head": opening.head,
            "publishers": opening.publishers,
            "runs": [[r.run_id, r.first_offset] for r in opening.runs],
        }
        if opening.keep_last is not None:
            message["open"]["keep_last"] = opening.keep_last
        if opening.rules is not None:
            rules = opening.rules
            message["open"]["rules"] = {"type": rules.content_type, "closable": rules.closable}
        if opening.order:
            message["open"]["order"] = opening.order
        if opening.written:
            message["open"]["written"] = {k: packed(v) for k, v in opening.written.items()}
        if opening.closed is not None:
            message["open"]["closed"] = closing_fields(opening.closed)
    return message


def parse_record(payload: Payload) -> Record | None:
    """Invert :func:`record_payload`; None if the memo field is not one of ours."""
    if payload.metadata.get("encoding") == ENCODING:
        return _parse_compact(payload.data)
    message = message_in(payload)
    if not isinstance(message, dict) or message.get("v") != RECORD_VERSION:
        return None
    base = message.get("base")
    entries = entries_in(message.get("items", []))
    if type(base) is not int or entries is None:
        return None
    ring = message.get("ring") is True
    if "open" not in message:
        return Record(base, entries, None, ring)
    opening = _opening(message["open"], base)
    return None if opening is None else Record(base, entries, opening, ring)


def _opening(message: Any, base: int) -> Opening | None:
    if not isinstance(message, dict):
        return None
    head, keep_last = message.get("head"), message.get("keep_last")
    publishers, order = message.get("publishers"), message.get("order", "")
    runs, rules = _runs(message.get("runs")), _rules(message.get("rules"))
    written = written_in(message.get("written", {}))
    if type(head) is not int or not (keep_last is None or type(keep_last) is int):
        return None
    if not isinstance(publishers, dict) or runs is None or not isinstance(order, str):
        return None
    if written is None or not all(type(sequence) is int for sequence in publishers.values()):
        return None
    closed = message.get("closed")
    closing = None if closed is None else closing_in(closed)
    if closed is not None and closing is None:
        return None
    return Opening(head, base, publishers, runs, keep_last, rules, order, written, closing)


def closing_fields(closing: Closing) -> list[Any]:
    """Return what closed a stream, in the form that a record has."""
    return [closing.publisher_id, closing.sequence, closing.run_id]


def closing_in(message: Any) -> Closing | None:
    """Invert :func:`closing_fields`; None if the message is anything else."""
    match message:
        case [str(publisher_id), int(sequence), str(run_id)] if type(sequence) is int:
            return Closing(publisher_id, sequence, run_id)
        case _:
            return None


def written_in(message: Any) -> dict[str, list[range]] | None:
    """Unpack what attempts wrote, by execution; None if the message is anything else."""
    if not isinstance(message, dict):
        return None
    ranges = {name: unpacked(numbers) for name, numbers in message.items()}
    known = {name: found for name, found in ranges.items() if found is not None}
    return known if len(known) == len(ranges) else None


def _runs(message: Any) -> list[RunRef] | None:
    if not isinstance(message, list):
        return None
    refs: list[RunRef] = []
    for run in message:
        match run:
            case [str(run_id), int(first)] if type(first) is int:
                refs.append(RunRef(run_id, first))
            case _:
                return None
    return refs


def _rules(message: Any) -> Rules | None:
    match message:
        case {"type": str(content_type), "closable": bool(closable)}:
            return Rules(content_type, closable)
        case _:
            return None
