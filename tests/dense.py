"""Texts that do not become much shorter when they are compressed."""

from __future__ import annotations

import base64
import random
from functools import cache


@cache
def dense(size: int) -> str:
    """Return a text of so many letters, always the same for the same number."""
    return base64.b85encode(random.Random(size).randbytes(size)).decode()[:size]
