"""Settings out of environment variables: ``WORKFLOW_STREAMS_`` and a setting's name."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from ..errors import UsageError

_PREFIX = "WORKFLOW_STREAMS_"


def variable_of(name: str) -> str:
    """Return the variable of a setting."""
    return _PREFIX + name.upper()


def text_in(environ: Mapping[str, str], name: str) -> str | None:
    """Return what a setting's variable says; None if it is not there, or is empty."""
    return environ.get(variable_of(name)) or None


def values_in(
    environ: Mapping[str, str], kind: type[Any], *, omit: Collection[str] = ()
) -> dict[str, Any]:
    """Return the settings of a class that variables say.

    Those are its numbers, texts, lists of texts (with commas) and switches (true or false). What
    else it has is not looked for.

    Args:
        environ: Variables.
        kind: A dataclass.
        omit: Names of settings that are not to be looked for.

    Raises:
        UsageError: A variable has no value of its setting's type.
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
            # What it is not may be a secret in the wrong place, but not of these types.
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
