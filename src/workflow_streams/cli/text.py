"""Makes text that others wrote safe to show. Pure."""

from __future__ import annotations

import re

# Characters that move the cursor, ring the bell, rename the window, change the direction of writing
# or break the line.
_UNSAFE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_unsafe = re.compile(f"[{_UNSAFE}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(text: str) -> str:
    r"""Return ``text`` on one line, with control characters as escapes such as ``\x1b``."""
    return _unsafe.sub(_escape, text)


def shown_json(text: str) -> str:
    """Return the same JSON on one line, without characters that a terminal would obey.

    Line breaks between JSON's tokens become blanks. All other unsafe characters can only occur
    within strings.
    """
    return _unsafe.sub(_escape_json, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    short = _SHORT.get(character)
    if short is not None:
        return short
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def _escape_json(found: re.Match[str]) -> str:
    character = found[0]
    return " " if character in "\n\r\t" else f"\\u{ord(character):04x}"
