"""Checks whether bytes are one JSON value, so that they can be put into an answer as is. Pure.

A payload that says it is JSON holds whatever its publisher has put there. If it were spliced into
an array unchecked, it could close its own item and open others, on topics that the publisher must
not write to, or make the whole answer unreadable.

The parser reads the bytes without building objects from them. So the check is cheap, and a value
designed to be expensive to build costs no more than any other of its size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

MOST_NESTING = 100
"""How deep arrays and objects may be nested.

Many clients cannot read deeper values: protobuf's parsers stop here, Rust's serde_json soon after.
And a fixed limit does not depend on how deep the stack already is, so all gateways treat an item
alike.
"""

# Each level takes a bracket to open it, and one to close it.
_SHALLOW_BYTES = 2 * MOST_NESTING

_parse = Decoder(Raw).decode
_parse_array = Decoder(list[Raw]).decode

# An escape of half a character (a surrogate): \ud800 to \udfff. What looks like one may be an
# escaped backslash before a text; whether the value is valid does not depend on that text.
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
"""Matches a string in valid JSON; a regular expression to be used with DOTALL."""
_TEXT = re.compile(TEXT, re.DOTALL)
_BRACKETS = b"[]{}"
_ALL_ELSE = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_STEPS = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]


def is_json_value(data: bytes) -> bool:
    """Whether these bytes are exactly one JSON value (RFC 8259), in UTF-8 and not nested too deep.

    Allowed are space around the value, repeated keys, and escapes of half a character (JavaScript
    writes these when a string was cut within a character). Not allowed are a byte order mark, NaN
    and Infinity, control characters in strings, and anything after the value.
    """
    return is_json(data) and is_shallow(data)


def are_json_values(values: Sequence[bytes]) -> bool:
    """Whether each of these is a JSON value, as far as one look at all of them can tell.

    That many values make an array does not suffice, since some may be cut in two, and others be
    two in one. They must be the very values that the parser finds in it.
    """
    array = b"[%b]" % b",".join(values)
    try:
        found = _parse_array(array)
    except (DecodeError, RecursionError):
        return False
    if list(map(bytes, found)) != list(values):
        return False
    return all(map(is_shallow, values)) and (array.isascii() or _is_utf_8(array))


def is_json(data: bytes) -> bool:
    """Whether these bytes are such a value, however deep it is nested."""
    try:
        _parse(data)
    except DecodeError:
        if not _is_value_with_halves(data):
            return False
    except RecursionError:
        return False
    return data.isascii() or _is_utf_8(data)


def is_shallow(value: bytes) -> bool:
    """Whether a JSON value is nested no deeper than :data:`MOST_NESTING`."""
    if len(value) <= _SHALLOW_BYTES or value.count(b"[") + value.count(b"{") <= MOST_NESTING:
        return True
    brackets = _TEXT.sub(b"", value).translate(None, _ALL_ELSE)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) <= MOST_NESTING


def _is_value_with_halves(data: bytes) -> bool:
    """Whether this is a value with escapes of half a character, which the parser refuses."""
    whole, count = _HALF.subn(rb"\\u00", data)
    if not count:
        return False
    try:
        _parse(whole)
    except (DecodeError, RecursionError):
        return False
    return True


def _is_utf_8(data: bytes) -> bool:
    """Whether the bytes are UTF-8; the parser does not check this within strings."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
