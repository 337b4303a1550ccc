"""Packs ranges of offsets into few numbers, for records and the state that is handed over. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate


def above(ranges: Iterable[range], base: int) -> list[range]:
    """Return those parts of ascending ranges that are not below ``base``."""
    return [range(max(part.start, base), part.stop) for part in ranges if part.stop > base]


def packed(ranges: Iterable[range]) -> list[int]:
    """Return ascending ranges as lengths: of the gap before each, and of the range itself."""
    numbers: list[int] = []
    end = 0
    for part in ranges:
        numbers += part.start - end, len(part)
        end = part.stop
    return numbers


def unpacked(numbers: object) -> list[range] | None:
    """Invert :func:`packed`; None for anything that it does not return."""
    if not isinstance(numbers, list) or len(numbers) % 2:
        return None
    if not all(type(number) is int and number >= 0 for number in numbers):
        return None
    bounds = list(accumulate(numbers))
    return [range(*part) for part in zip(bounds[::2], bounds[1::2], strict=True)]


def last_packed(ranges: Sequence[range], room: int) -> tuple[list[int], int]:
    """Return as many of the last ranges as fit, packed, and how many bytes they take as JSON.

    Args:
        ranges: Ascending ranges.
        room: How many bytes they may take.
    """
    taken, first = 2, len(ranges)
    while first:
        part = ranges[first - 1]
        gap = part.start - (ranges[first - 2].stop if first > 1 else 0)
        # If the ranges before this one are left out, the gap before it counts from offset 0.
        size = taken + len(f"{len(part)},")
        if size + len(f"{part.start},") > room:
            break
        taken = size + len(f"{gap},")
        first -= 1
    numbers = packed(ranges[first:])
    return numbers, len(f"{numbers}".replace(" ", ""))
