"""Whether bytes are one JSON value, so that they may stand within an answer as they are. Pure.

A payload that says it is JSON holds whatever its publisher has put there. Spliced into an array
unchecked, it could close its own item and open others, on topics that are not the publisher's, or
make the whole answer unreadable.
"""

from __future__ import annotations

import json
from json.scanner import make_scanner
from typing import Any

MOST_NESTING = 100
"""How deep arrays and objects may stand in each other.

Many clients read no more: protobuf's parsers stop here, Rust's serde_json soon after. And the
limit does not depend on how deep the stack is already, so all gateways tell an item alike.
"""

_SPACE = " \t\n\r"


def is_json_value(data: bytes) -> bool:
    """Whether these bytes are exactly one JSON value (RFC 8259), in UTF-8 and not too deep.

    Space around it, a key that comes twice, and the escape of half a character (JavaScript sends
    it of a text that is cut within one) are JSON. A byte order mark, NaN and Infinity, control
    characters in texts, and anything after the value are not.
    """
    try:
        text = data.decode()
        value, end = _scan(text, 0)
        return (end == len(text) or not text[end:].strip(_SPACE)) and _is_shallow(value, text)
    except StopIteration:  # there is no value at the start
        rest = data.lstrip(_SPACE.encode())
        return len(rest) < len(data) and is_json_value(rest)
    except (ValueError, RecursionError):
        return False


def is_shallow(value: bytes) -> bool:
    """Whether a JSON value keeps to :data:`MOST_NESTING`."""
    return len(value) <= 2 * MOST_NESTING or is_json_value(value)


def _is_shallow(value: Any, text: str) -> bool:
    if len(text) <= 2 * MOST_NESTING:  # each level takes a bracket to open it, and one to close it
        return True
    brackets = text.count("[") + text.count("{")
    if brackets <= MOST_NESTING:
        return True
    found, levels = _containers(value)
    if levels > MOST_NESTING:
        return False
    # Other brackets stand in texts, or under keys that come again: a dict forgets those.
    return found == brackets or _containers(_decode_all(text))[1] <= MOST_NESTING


def _containers(value: Any) -> tuple[int, int]:
    """Return how many arrays and objects a value holds, and how deep; no further than allowed."""
    level = [value] if isinstance(value, list | dict) else []
    found = levels = 0
    while level and levels <= MOST_NESTING:
        found += len(level)
        levels += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
    return found, levels


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _values(members: list[tuple[str, Any]]) -> list[Any]:
    return [value for _, value in members]


# Numbers need not be understood, however long they are.
_options: dict[str, Any] = {"parse_int": str, "parse_float": str, "parse_constant": _no_constant}
# Written in C where Python is. `json.loads` around it takes longer than a value of usual size.
_scan = make_scanner(json.JSONDecoder(**_options))  # type: ignore[arg-type]
# A dict would forget what stands under a key that comes again.
_decode_all = json.JSONDecoder(object_pairs_hook=_values, **_options).decode
