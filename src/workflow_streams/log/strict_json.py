"""Reads the JSON of messages, and only such JSON as all processes read alike. Pure.

Workflow and readers have to come to the same result, so nothing may depend on what differs between
processes: how deep the stack is already, or how many digits of a number the Python version takes.
"""

from __future__ import annotations

import json
from typing import Any

from temporalio.api.common.v1 import Payload

# How deep the JSON of a batch or record may nest. Python parses some 900 levels, and fewer the
# deeper its own stack already is.
_MOST_NESTING = 32
# Digits of an integer. Python parses 4,300 unless set otherwise, and never fewer than 640.
_MOST_DIGITS = 100
# How many arrays, objects and commas there may be. A worker that comes late finds up to 40 MiB of
# signals, and has 2 s for all. A batch of the smallest items has 91,000 objects in 2 MiB.
_MOST_OF = {b"[": 100_000, b"{": 100_000, b",": 400_000}


def message_in(payload: Payload) -> Any:
    """Return the JSON value in a payload; None if it holds no JSON, or JSON over the limits."""
    if payload.metadata.get("encoding") != b"json/plain":
        return None
    if any(payload.data.count(sign) > most for sign, most in _MOST_OF.items()):
        return None
    try:
        value = _decoder.decode(_text(payload.data))
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and _are_pairs(value.get("items")):
        # Leave out the items, which are nearly all of a batch. Either they are entries, which hold
        # two texts and nothing that nests, or the batch is malformed in any case.
        return value if _is_shallow({**value, "items": None}) else None
    return value if _is_shallow(value) else None


def _are_pairs(items: Any) -> bool:
    """Whether this is a list of objects with two fields each."""
    return (
        isinstance(items, list) and set(map(type, items)) == {dict} and set(map(len, items)) == {2}
    )


def _text(data: bytes) -> str:
    # As json.loads does it, without UTF-16 and UTF-32, which no converter writes.
    return data.decode("utf-8", "surrogatepass")


def _number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError("a number with too many digits")
    return int(digits)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_int=_number, parse_constant=_no_number)


def _is_shallow(value: Any) -> bool:
    """Whether arrays and objects nest no deeper than allowed."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_MOST_NESTING):
        if not level:
            return True
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return not level
