"""Reads settings from environment variables: ``WORKFLOW_STREAMS_`` and a setting's name."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from ..errors import UsageError

_PREFIX = "WORKFLOW_STREAMS_"


def variable_of(name: str) -> str:
    """Return the name of a setting's variable."""
    return _PREFIX + name.upper()


def text_in(environ: Mapping[str, str], name: str) -> str | None:
    """Return the value of a setting's variable; None if it is unset or empty."""
    return environ.get(variable_of(name)) or None


def values_in(
    environ: Mapping[str, str], kind: type[Any], *, omit: Collection[str] = ()
) -> dict[str, Any]:
    """Return those settings of a class that are set by environment variables.

    Numbers, texts, lists of texts (with commas) and switches (true or false) are read. Settings of
    other types are not.

    Args:
        environ: The environment variables.
        kind: A dataclass of settings.
        omit: Names of settings that are not read.

    Raises:
        UsageError: A variable's value is not of its setting's type.
    """
    types = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in fields(kind):
        parse = _PARSERS.get(types[field.name])
        if parse is None or field.name in omit:
            continue
        text = (text_in(environ, field.name) or "").strip()
        if not text:
            continue
        try:
            values[field.name] = parse(text)
        except ValueError as err:
            # The message may quote the value: no setting of these types holds a secret.
            raise UsageError(f"{variable_of(field.name)} is {err}, not {text!r}") from None
    return values


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError("a whole number")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError("a number from 0 on")
    return number


def _flag(text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes":
            return True
        case "0" | "false" | "no":
            return False
        case _:
            raise ValueError("true or false")


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_PARSERS: dict[Any, Callable[[str], Any]] = {
    int: _whole,
    float: _number,
    float | None: _number,
    bool: _flag,
    str: str,
    str | None: str,
    tuple[str, ...]: _list,
}
