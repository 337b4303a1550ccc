"""What a run hands to the next one: counters, publishers, and what polling clients still need.

Runs in the workflow sandbox. Never the whole log: readers follow the history of earlier runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from . import wire
from .wire import Entry, PublisherState, RunRef, WireItem
from .wire import WorkflowStreamState as State

# The SDK warns of payloads over 512 KiB. The state is part of one, with what else the workflow
# hands on.
MAX_STATE_BYTES = 448 * 1024
TAIL_BYTES = 256 * 1024
"""What is handed on of the items for subscribers that poll and come back later."""
MAX_RUN_REFS = 500
MAX_PUBLISHERS_BYTES = 192 * 1024
# JSON around a publisher: quotes, names of the fields, the time.
_PUBLISHER_BYTES = 80
_RUN_BYTES = 90
_COUNTERS_BYTES = 1024
# Around topic and data in the tail: brackets, commas, and the escaped quotes of the data.
_ITEM_BYTES = len('[,\\"\\"],')
# The ordering key, each character of which takes six bytes at the worst.
_ORDER_BYTES = 6 * wire.MAX_ID_CHARACTERS + 2

SURE_TAIL_BYTES = (
    MAX_STATE_BYTES
    - MAX_PUBLISHERS_BYTES
    - MAX_RUN_REFS * _RUN_BYTES
    - _ORDER_BYTES
    - _COUNTERS_BYTES
)
"""What of the items can be handed on in any case, whatever else there is."""


def publishers_kept(
    sequences: Mapping[str, int],
    last_seen: Mapping[str, datetime],
    *,
    now: datetime,
    ttl: timedelta,
) -> dict[str, PublisherState]:
    """Return the publishers that have not been idle for too long, and for which there is room."""
    kept: dict[str, PublisherState] = {}
    size = 0
    for publisher_id in sorted(sequences, key=last_seen.__getitem__, reverse=True):
        size += _json_bytes(publisher_id) + _PUBLISHER_BYTES
        if now - last_seen[publisher_id] >= ttl or size > MAX_PUBLISHERS_BYTES:
            break
        kept[publisher_id] = PublisherState(sequences[publisher_id], last_seen[publisher_id])
    return kept


def runs_kept(runs: Sequence[RunRef], head: int, base: int) -> list[RunRef]:
    """Return the last runs that hold something from ``base`` on."""
    ends = [run.first_offset for run in runs[1:]] + [head]
    return [run for run, end in zip(runs, ends, strict=True) if end > base][-MAX_RUN_REFS:]


def tail_room(publishers: Mapping[str, PublisherState], runs: Sequence[RunRef], order: str) -> int:
    """Return how many bytes of the state are left for items."""
    taken = sum(_json_bytes(publisher_id) + _PUBLISHER_BYTES for publisher_id in publishers)
    taken += len(runs) * _RUN_BYTES + _json_bytes(order) + _COUNTERS_BYTES
    return max(0, MAX_STATE_BYTES - taken)


def entries_of(state: State) -> tuple[list[Entry], int]:
    """Return the items that a state carries, and the offset of the first."""
    if not state.tail:
        return [(item.topic, item.data) for item in state.log], state.base_offset
    entries: list[Entry] = [(topic, data) for topic, data in json.loads(state.tail)]
    return entries, state.base_offset - len(entries)


def tail_text(entries: Sequence[Entry], room: int) -> str:
    """Return the last items that fit into ``room`` bytes of the state, as its ``tail``.

    One text, since decoding a typed object for each item costs the next run's first task more
    than all else, and as a rule nobody asks for them.
    """
    texts: list[str] = []
    for topic, data in reversed(entries):
        room -= carried_bytes(topic, data)
        if room < 0:
            break
        texts.append(f"[{json.dumps(topic)},{json.dumps(data)}]")
    return f"[{','.join(reversed(texts))}]" if texts else ""


def carried_bytes(topic: str, data: str) -> int:
    """Return how many bytes an item takes in a state's ``tail``."""
    return _topic_bytes(topic) + len(data) + _ITEM_BYTES


@lru_cache(maxsize=1024)
def _topic_bytes(topic: str) -> int:
    # What the text of the tail escapes is escaped once more in the text of the state.
    return _json_bytes(json.dumps(topic)) - 2


def whole_log(entries: Sequence[Entry]) -> list[WireItem]:
    """Return items as the contrib hands them on."""
    return [WireItem(topic, data) for topic, data in entries]


def _json_bytes(text: str) -> int:
    return len(json.dumps(text))
