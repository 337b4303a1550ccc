"""Where a stream is forked: what a call or a request asks for."""

from __future__ import annotations

from dataclasses import dataclass

from ..log.positions import Position


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """Which stream is to be forked, and where.

    Attributes:
        source: Name of the stream, which is its workflow's id.
        offset: Where to fork it; None for its head.
        position: The same, if it also says which stream was read.
        sub_offset: How far past that: items of a JSON stream, bytes of any other.
    """

    source: str
    offset: int | None = None
    position: Position | None = None
    sub_offset: int = 0
