"""Saves sending answers again or in full: entity tags, cache headers and compression."""

from __future__ import annotations

import hashlib
import json
import re
import zlib

from ...events import Last
from ..requests.reads import ReadQuery
from ..security import Grant
from ..temporal.streams import Stream

# Durable Streams 10.1
_CACHEABLE = "max-age=60, stale-while-revalidate=300"
_COMPRESSION_LEVEL = 5


def etag_of(
    stream: Stream,
    start: int,
    end: int,
    topics: frozenset[str] | None,
    *,
    closed: bool,
    notices: int = 0,
) -> str:
    """Return the entity tag of an answer. It is weak, since the answer may be compressed or not.

    ``notices`` is the number of its gaps and rewinds.
    """
    before, after = _around_end(stream, start, topics, closed=closed, notices=notices)
    return f"W/{before}{end}{after}"


def _around_end(
    stream: Stream,
    start: int,
    topics: frozenset[str] | None,
    *,
    closed: bool,
    notices: int = 0,
) -> tuple[str, str]:
    """Return what stands in a tag before and after the offset at which the answer ends."""
    # The same URL shows other content to a client that may read other topics.
    seen = "" if topics is None else f":{_digest(topics)}"
    mark = (f":n{notices}" if notices else "") + (":c" if closed else "")
    return f'"{stream.described.run_id}:{start}:', f'{seen}{mark}"'


def still_true(known: str, stream: Stream, query: ReadQuery, grant: Grant) -> str | None:
    """Return the tag of an answer that the client has and that can never change; None otherwise.

    What a closed run holds up to its end stays the same, so nothing has to be read.
    """
    if stream.running or isinstance(query.start, Last):
        return None
    # A request may name thousands of tags, and of topics, so the topics are looked at once.
    before, after = _around_end(stream, query.offset, grant.topics, closed=True)
    found = re.search(rf"{re.escape(before)}(0|[1-9][0-9]*){re.escape(after)}", known, re.ASCII)
    return None if found is None else f"W/{found[0]}"


def matches(known: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` header names this tag."""
    opaque = etag.removeprefix("W/")
    tags = (tag.strip().removeprefix("W/") for tag in known.split(","))
    return any(tag in (opaque, "*") for tag in tags)


def cache_headers(grant: Grant, *, lasting: bool = True) -> dict[str, str]:
    """Return header fields for caches; ``lasting`` means that the answer will not change.

    With a login, a shared cache must not keep an answer, and a browser's own cache must not give it
    to the next user who logs in.
    """
    scope = "private" if grant.is_private else "public"
    return _for(grant, f"{scope}, {_CACHEABLE if lasting else 'no-cache'}")


def event_cache_headers(grant: Grant) -> dict[str, str]:
    """Return header fields for caches about an event stream, which proxies must not change."""
    scope = "private, " if grant.is_private else ""
    return _for(grant, f"{scope}no-cache, no-transform")


def _for(grant: Grant, cache_control: str) -> dict[str, str]:
    headers = {"cache-control": cache_control}
    if grant.varies_on:
        headers["vary"] = ", ".join(grant.varies_on)
    return headers


def accepts_gzip(header: str) -> bool:
    """Whether an ``Accept-Encoding`` header accepts gzip."""
    for choice in header.lower().split(","):
        coding, _, parameters = choice.strip().partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def gzipped(body: bytes) -> bytes:
    """Return a compressed body. This takes a while, so call it in a thread."""
    compressor = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


def _digest(topics: frozenset[str]) -> str:
    names = json.dumps(sorted(topics)).encode()
    return hashlib.blake2b(names, digest_size=6).hexdigest()
