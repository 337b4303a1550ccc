"""What the items hold: who published them, their number, and when."""

from __future__ import annotations

import time


def make_value(publisher: int, number: int, size: int) -> str:
    """Return a value of at least `size` characters; the clock is the same in all processes."""
    return f"{publisher} {number} {time.monotonic_ns()} ".ljust(size, "x")


def read_value(value: str) -> tuple[int, int, int]:
    """Return publisher, number and time (ns) of a value."""
    publisher, number, published, _ = value.split(" ", 3)
    return int(publisher), int(number), int(published)
