"""Offset tokens, by their number alone."""

from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(r"([0-9]{20})(?:_[A-Za-z0-9_-]{27})?(.*)", re.ASCII)


class Token(str):
    """A number as a token; it equals each token of that number, whatever stream it is of."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and _parts(self) == _parts(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(_parts(self))

    def __add__(self, mark: str) -> Token:
        return Token(str(self) + mark)


def token(offset: int) -> Token:
    """Return the number as a token."""
    return Token(f"{offset:020d}")


def number(text: str) -> int:
    """Return the offset that a token says."""
    found = _TOKEN.fullmatch(text)
    assert found is not None, text
    return int(found[1])


def _parts(text: str) -> tuple[Any, ...]:
    found = _TOKEN.fullmatch(text)
    return (text,) if found is None else found.groups()
