"""Entries, which are what batches and records are made of: as JSON, and how long that is. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from temporalio.api.common.v1 import Payload

from .payloads import item_in, item_of, text_length, text_of
from .wire import Entry

ENTRY_BYTES = len('{"topic":,"data":""},')
"""What an entry takes as JSON beside its topic and data, with the comma after it."""

MOST_TOPICS = 1024
USUAL_TOPIC = 256
"""The length in JSON is cached for so many topics, of at most so many characters each."""

AT_ONCE = 1_000
"""How many entries are handled in one go, which takes a few milliseconds."""


def entry_of(topic: str, payload: Payload) -> Entry:
    """Return the entry of a payload."""
    return (topic, *item_of(payload))


def entries_json(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield entries as JSON text. Most have the same topic, and base64 needs no escaping."""
    before, begin = None, ""
    for topic, kind, data in entries:
        if topic != before:
            before, begin = topic, f'{{"topic":{json.dumps(topic)},"data":"'
        yield f'{begin}{text_of(kind, data)}"}}'


def entries_in(items: Any) -> list[Entry] | None:
    """Return the entries in what stands under "items" in a message; None if it is anything else."""
    if not isinstance(items, list):
        return None
    try:
        texts = [(item["topic"], item["data"]) for item in items]
    except (TypeError, KeyError):
        return None
    if not {type(text) for text in chain.from_iterable(texts)} <= {str}:
        return None
    return entries_of(texts)


def entries_of(texts: Iterable[tuple[str, str]]) -> list[Entry]:
    """Return the entries with these topics, and payloads as texts."""
    entries: list[Entry] = []
    # Items of one topic share its name, and those of one kind that; each came with its own.
    topics: dict[str, str] = {}
    kinds: dict[bytes, bytes] = {}
    before, kind, data = "", b"", b""
    for topic, text in texts:
        if text != before:
            before, (kind, data) = text, item_in(text)
            kind = kinds.setdefault(kind, kind)
        entries.append((topics.setdefault(topic, topic), kind, data))
    return entries


def topic_bytes(topic: str) -> int:
    """Return how long a topic is as JSON, with its quotes."""
    # Long topics are not cached, so that the cache is bounded in bytes as well.
    return _usual_topic_bytes(topic) if len(topic) <= USUAL_TOPIC else len(json.dumps(topic))


@lru_cache(maxsize=MOST_TOPICS)
def _usual_topic_bytes(topic: str) -> int:
    return len(json.dumps(topic))


def entry_bytes(topic: str, kind: bytes, data: bytes) -> int:
    """Return how many bytes an entry takes as JSON, with the comma after it."""
    return topic_bytes(topic) + text_length(kind, data) + ENTRY_BYTES


def entries_bytes(entries: Sequence[Entry]) -> int:
    """Return the sum of :func:`entry_bytes` over all entries, of which there may be a million."""
    if not entries:
        return 0
    # A list in JSON has two characters for each item beside the item: brackets, comma and space.
    topics = len(json.dumps([topic for topic, _, _ in entries]))
    return topics + texts_length(entries) + (ENTRY_BYTES - 2) * len(entries)


def texts_length(entries: Sequence[Entry]) -> int:
    """Return how long the payloads of all entries are together, as texts."""
    return sum([text_length(kind, data) for _, kind, data in entries])
