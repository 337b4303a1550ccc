"""Whether bytes are one JSON value, so that they may stand within an answer as they are. Pure.

A payload that says it is JSON holds whatever its publisher has put there. Spliced into an array
unchecked, it could close its own item and open others, on topics that are not the publisher's, or
make the whole answer unreadable.

The parser goes over the bytes and builds nothing from them, so the check costs little, and a
value made to be costly to build costs no more than any other of its size.
"""

from __future__ import annotations

import re
from itertools import accumulate

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

MOST_NESTING = 100
"""How deep arrays and objects may stand in each other.

Many clients read no more: protobuf's parsers stop here, Rust's serde_json soon after. And the
limit does not depend on how deep the stack is already, so all gateways tell an item alike.
"""

# Each level takes a bracket to open it, and one to close it.
_SHALLOW_BYTES = 2 * MOST_NESTING

_parse = Decoder(Raw).decode

# The escape of half a character, from its first hexadecimal digit on: \ud800 to \udfff.
_HALF = re.compile(rb"((?<!\\)(?:\\\\)*\\u)[dD]([89a-fA-F])")
TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
"""A text in JSON that is known to be such, as a regular expression, for DOTALL."""
_TEXT = re.compile(TEXT, re.DOTALL)
_BRACKETS = b"[]{}"
_ALL_ELSE = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_STEPS = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]


def is_json_value(data: bytes) -> bool:
    """Whether these bytes are exactly one JSON value (RFC 8259), in UTF-8 and not too deep.

    Space around it, a key that comes twice, and the escape of half a character (JavaScript sends
    it of a text that is cut within one) are JSON. A byte order mark, NaN and Infinity, control
    characters in texts, and anything after the value are not.
    """
    return is_json(data) and is_shallow(data)


def is_json(data: bytes) -> bool:
    """Whether it is such a value, or would be but for its depth."""
    try:
        _parse(data)
    except DecodeError:
        if not _is_value_with_halves(data):
            return False
    except RecursionError:
        return False
    return data.isascii() or _is_utf_8(data)


def is_shallow(value: bytes) -> bool:
    """Whether a JSON value keeps to :data:`MOST_NESTING`."""
    if len(value) <= _SHALLOW_BYTES or value.count(b"[") + value.count(b"{") <= MOST_NESTING:
        return True
    brackets = _TEXT.sub(b"", value).translate(None, _ALL_ELSE)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) <= MOST_NESTING


def _is_value_with_halves(data: bytes) -> bool:
    """Whether it is a value but for escapes of half a character, which the parser refuses."""
    whole, count = _HALF.subn(rb"\g<1>0\2", data)
    if not count:
        return False
    try:
        _parse(whole)
    except (DecodeError, RecursionError):
        return False
    return True


def _is_utf_8(data: bytes) -> bool:
    """Whether it is in UTF-8; the parser does not look into texts."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
