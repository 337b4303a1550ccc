"""Shows an item's payload, to people or to programs. Pure."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import NoReturn

from temporalio.api.common.v1 import Payload

from ...log.payloads import payload_of
from ..text import shown, shown_json

_JSON = frozenset({"json/plain", "json/protobuf"})
_EXCERPT_BYTES = 48


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Data that is not a payload, or a payload that is not what its encoding says.

    ``members`` is the raw data, as members of a JSON object.
    """

    reason: str
    members: str


def text_of(kind: bytes, data: bytes, *, bytes_are_text: bool = False) -> str | Undecodable:
    """Return an item's value for people to read, on one line."""
    payload = _parse(kind, data)
    if isinstance(payload, Undecodable):
        return payload
    encoding, name = _name(payload, "encoding"), shown(_name(payload, "messageType"))
    if encoding == "binary/null":
        return "null"
    if encoding in _JSON:
        try:
            text = json_text(payload.data)
        except ValueError as err:
            return Undecodable(str(err), _raw_members(payload))
        value = shown(json.loads(text)) if text.startswith('"') else shown_json(text)
        return f"{name} {value}" if name else value
    if bytes_are_text and encoding == "binary/plain":
        return shown(payload.data.decode(errors="replace"))
    what = f"{name} {shown(encoding)}".strip() or "no encoding"
    excerpt = payload.data[:_EXCERPT_BYTES]
    more = "..." if len(payload.data) > len(excerpt) else ""
    return f"<{what}, {len(payload.data):,} bytes> {excerpt!r}{more}"


def members_of(kind: bytes, data: bytes) -> str | Undecodable:
    """Return an item's value as members of a JSON object.

    ``data`` is JSON as it was published. If there is an ``encoding`` as well, the value was not
    JSON, and ``data`` is the base64 of its bytes.
    """
    payload = _parse(kind, data)
    if isinstance(payload, Undecodable):
        return payload
    encoding = _name(payload, "encoding")
    if encoding == "binary/null":
        return '"data":null'
    if encoding not in _JSON:
        return _raw_members(payload)
    try:
        text = json_text(payload.data)
    except ValueError as err:
        return Undecodable(str(err), _raw_members(payload))
    return f'"data":{shown_json(text)}{_message_type(payload)}'


def json_text(data: bytes) -> str:
    """Return JSON as text, unchanged; raise ValueError if it is not JSON."""
    try:
        text = data.decode().strip()
        # Numbers are only checked, not converted, however long they are.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except UnicodeDecodeError as err:
        raise ValueError(f"not UTF-8: {err}") from err
    except (ValueError, RecursionError) as err:
        raise ValueError(f"not JSON: {err}") from err
    return text


def _parse(kind: bytes, data: bytes) -> Payload | Undecodable:
    try:
        return payload_of(kind, data)
    except ValueError as err:
        return Undecodable(str(err), '"data":null,"encoding":"unreadable"')


def _name(payload: Payload, key: str) -> str:
    return payload.metadata[key].decode(errors="replace") if key in payload.metadata else ""


def _raw_members(payload: Payload) -> str:
    data = base64.b64encode(payload.data).decode()
    encoding = json.dumps(_name(payload, "encoding"))
    return f'"data":"{data}","encoding":{encoding}{_message_type(payload)}'


def _message_type(payload: Payload) -> str:
    kind = _name(payload, "messageType")
    return f',"message_type":{json.dumps(kind)}' if kind else ""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON value")
