"""Reads single parameters and numbers of requests. Pure."""

from __future__ import annotations

import re

from starlette.datastructures import QueryParams

from ..refusals.problems import InvalidRequestError

# Integers that JavaScript can hold (Durable Streams 5.2.1).
_LARGEST_INTEGER = 2**53 - 1
_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)


def single(query: QueryParams, name: str) -> str | None:
    """Return the value of a parameter; None without it.

    Raises:
        InvalidRequestError: The parameter is given more than once.
    """
    values = query.getlist(name)
    if len(values) > 1:
        raise InvalidRequestError(f"There is more than one {name}.")
    return values[0] if values else None


def parse_integer(text: str, name: str) -> int:
    """Read a number from 0 to 2^53-1, in plain digits.

    Raises:
        InvalidRequestError: The text is anything else.
    """
    if _INTEGER.fullmatch(text) is None or int(text) > _LARGEST_INTEGER:
        raise InvalidRequestError(f"{name} is not a whole number from 0 to 2^53-1.")
    return int(text)
