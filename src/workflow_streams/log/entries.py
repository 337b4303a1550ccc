"""Entries, which are what batches and records are made of: as JSON, and how long that is. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from typing import Any

from .wire import Entry

# What an entry takes as JSON beside its topic and data, with the comma after it.
_ENTRY_BYTES = len('{"topic":,"data":""},')

MOST_TOPICS = 1024
USUAL_TOPIC = 256
"""The length in JSON is cached for so many topics, of at most so many characters each."""

AT_ONCE = 1_000
"""How many entries are handled in one go, which takes a few milliseconds."""

# Stands between two entries. It cannot be part of one, since quotes within a topic have a backslash
# before them.
_BETWEEN = b'},{"topic":'


@dataclass(frozen=True, slots=True)
class JoinedEntries:
    """Entries as one piece of JSON text.

    A list of entries would take twice as much memory if each of them is small.

    Attributes:
        text: The entries with commas between them, in ASCII.
    """

    text: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, entries: Iterable[str]) -> JoinedEntries:
        """Join what :func:`entry_json` returned."""
        return cls(b",".join(joined_parts(entries)))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.text)

    def __iter__(self) -> Iterator[str]:
        """Yield the entries one by one."""
        start, text = 0, self.text
        while (end := text.find(_BETWEEN, start)) >= 0:
            yield text[start : end + 1].decode()
            start = end + 2
        if text:
            yield text[start:].decode()


def joined_parts(entries: Iterable[str]) -> Iterator[bytes]:
    """Join entries, :data:`AT_ONCE` at a time."""
    rest = iter(entries)
    while some := list(islice(rest, AT_ONCE)):
        yield ",".join(some).encode()


def entry_json(topic: str, data: str) -> str:
    """Return one entry as JSON text; base64 needs no escaping."""
    return f'{{"topic":{json.dumps(topic)},"data":"{data}"}}'


def entries_in(items: Any) -> list[Entry] | None:
    """Return the entries in what stands under "items" in a message; None if it is anything else."""
    if not isinstance(items, list):
        return None
    try:
        entries = [(item["topic"], item["data"]) for item in items]
    except (TypeError, KeyError):
        return None
    return entries if {type(text) for text in chain.from_iterable(entries)} <= {str} else None


def _topic_bytes(topic: str) -> int:
    # Long topics are not cached, so that the cache is bounded in bytes as well.
    return _usual_topic_bytes(topic) if len(topic) <= USUAL_TOPIC else len(json.dumps(topic))


@lru_cache(maxsize=MOST_TOPICS)
def _usual_topic_bytes(topic: str) -> int:
    return len(json.dumps(topic))


def entry_bytes(topic: str, data: str) -> int:
    """Return how many bytes an entry takes as JSON, with the comma after it."""
    return _topic_bytes(topic) + len(data) + _ENTRY_BYTES


def entries_bytes(entries: Sequence[Entry]) -> int:
    """Return the sum of :func:`entry_bytes` over all entries, of which there may be a million."""
    if not entries:
        return 0
    # A list in JSON has two characters for each item beside the item: brackets, comma and space.
    topics = len(json.dumps([topic for topic, _ in entries]))
    return topics + sum([len(data) for _, data in entries]) + (_ENTRY_BYTES - 2) * len(entries)
