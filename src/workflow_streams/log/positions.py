"""Resumable positions: an offset, and which run of which workflow it was read in. Pure.

An offset alone does not say which stream it belongs to. If the workflow was started anew, reset,
or deleted and made again while a reader was away, the same offset means something else. So what
readers keep to resume at is a position, such as::

    00000000000000000042_q83vEjRWeBI0VniavN7wEjZa-gpB9a

The offset comes first, padded with zeros, so that the positions of one run sort as strings. After
the underscore comes a tag in URL-safe base64: the run id (a UUID, 16 bytes) and a digest of the id
of the chain's first run (4 bytes). If activities have been retried at that very offset, a ``~``
follows, with the number of their rewinds that the reader has been given. Only this module looks
into positions.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from ..errors import InvalidOffsetError

DIGITS = 20
LARGEST_OFFSET = 2**63 - 1

_CHAIN_BYTES = 4
_UUID_BYTES = 16
_POSITION = re.compile(r"([0-9]{1,20})(?:_([A-Za-z0-9_-]{27})(?:~([0-9]{1,6}))?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """Where to resume.

    Attributes:
        offset: Offset of the next item.
        run_id: Run in which the items before it were read.
        chain: Digest of the first run of that run's chain; see :func:`chain_digest`.
        rewinds: How many rewinds of retried activities at this offset, in this run, the reader has
            been given.
    """

    offset: int
    run_id: str
    chain: bytes
    rewinds: int = 0


def chain_digest(first_run_id: str) -> bytes:
    """Return a digest that tells apart workflows that have, or had, the same workflow id.

    Runs that a workflow goes through by continue-as-new, retry, cron or a reset share it.
    """
    return hashlib.blake2b(first_run_id.encode(), digest_size=_CHAIN_BYTES).digest()


@lru_cache(maxsize=1024)
def tag_of(first_run_id: str, run_id: str) -> str:
    """Return what follows the offset in a position; empty if a run is not known."""
    try:
        run = UUID(run_id).bytes
    except ValueError:
        return ""  # before the first event is read; the server's run ids are all UUIDs
    if not first_run_id or str(UUID(bytes=run)) != run_id:
        return ""
    return "_" + urlsafe_b64encode(run + chain_digest(first_run_id)).rstrip(b"=").decode()


def position_at(offset: int, tag: str = "", rewinds: int = 0) -> str:
    """Return the position at ``offset``; without a tag, it holds the number only."""
    told = f"~{rewinds}" if tag and rewinds else ""
    return f"{offset:0{DIGITS}d}{tag}{told}"


def parse_position(text: str) -> Position | int:
    """Parse a position; return an int if it holds an offset only. Leading zeros may be left out.

    Raises:
        InvalidOffsetError: It is no position.
    """
    match = _POSITION.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1]) > LARGEST_OFFSET:
        raise InvalidOffsetError(text, "is not a position that a reader was given")
    offset, tag = int(match[1]), match[2]
    if tag is None:
        return offset
    data = urlsafe_b64decode(tag + "=")
    run_id, chain = str(UUID(bytes=data[:_UUID_BYTES])), data[_UUID_BYTES:]
    return Position(offset, run_id, chain, int(match[3] or 0))
