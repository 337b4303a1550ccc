"""What a run hands to the next one: counters, publishers, what attempts wrote, what pollers need.

It never hands over the whole log, since readers follow the history of earlier runs. Runs in the
workflow sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from ..log import wire
from ..log.entries import MOST_TOPICS, USUAL_TOPIC
from ..log.entries import entries_of as entries_in_texts
from ..log.fold import Fold
from ..log.payloads import text_length, text_of
from ..log.publisher_ids import parse_publisher_id
from ..log.ranges import last_packed
from ..log.records import closing_fields, closing_in, written_in
from ..log.wire import Closing, Entry, PublisherState, RunRef, WireItem
from ..log.wire import WorkflowStreamState as State

# The SDK warns of payloads over 512 KiB. The state is part of such a payload, beside what else the
# workflow hands on.
MAX_STATE_BYTES = 448 * 1024
TAIL_BYTES = 256 * 1024
"""How much of the newest items is handed on, for subscribers that poll and come back later."""
UNPOLLED_RUNS = 2
"""For how many runs without a poll items are still handed on, for subscribers that are away."""
MAX_RUN_REFS = 500
MAX_PUBLISHERS_BYTES = 192 * 1024
"""Publishers, and the offsets written by those of them that may still be retried."""
MAX_WRITTEN_BYTES = 64 * 1024
"""The offsets alone: enough for some 10,000 batches that alternate with those of others."""
# JSON around a publisher: quotes, names of the fields, the time.
_PUBLISHER_BYTES = 80
# Around an activity execution and its numbers, where the quotes are escaped: \\"\\":,
_EXECUTION_BYTES = 6
_RUN_BYTES = 90
_COUNTERS_BYTES = 1024
# Around topic and data in the tail: brackets, commas, and the escaped quotes of the data.
ITEM_BYTES = len('[,\\"\\"],')
# The ordering key; each of its characters takes six bytes at worst.
_ORDER_BYTES = 6 * wire.MAX_ID_CHARACTERS + 2
# What closed the stream: a publisher id within a JSON text, so that it is escaped once more.
_CLOSED_BYTES = 7 * wire.MAX_ID_CHARACTERS + 256

SURE_TAIL_BYTES = (
    MAX_STATE_BYTES
    - MAX_PUBLISHERS_BYTES
    - MAX_RUN_REFS * _RUN_BYTES
    - _ORDER_BYTES
    - _CLOSED_BYTES
    - _COUNTERS_BYTES
)
"""How many bytes of items can be handed on in any case, whatever else there is."""


@dataclass(frozen=True, slots=True)
class EarlierRuns:
    """What a run is told of those before it, and hands on with its own share added.

    Attributes:
        runs: Those that a reader can go back to.
        malformed: How many malformed signals they had.
        unpolled: For how many of them, up to the last one, nobody has polled.
        closing: What closed the stream in one of them; None if it is open.
        subscribers: Where those that polled in the last of them will ask next.
    """

    runs: list[RunRef]
    malformed: int
    unpolled: int
    closing: Closing | None
    subscribers: list[int]


def earlier_runs_of(state: State) -> EarlierRuns:
    """Return what a state says of earlier runs."""
    unpolled = state.unpolled_runs if state.tail or state.subscribers else UNPOLLED_RUNS
    return EarlierRuns(
        list(state.runs), state.malformed, unpolled, closing_of(state), state.subscribers
    )


def publishers_kept(
    sequences: Mapping[str, int],
    last_seen: Mapping[str, datetime],
    *,
    now: datetime,
    ttl: timedelta,
    room: int = MAX_PUBLISHERS_BYTES,
) -> dict[str, PublisherState]:
    """Return the publishers that have not been idle for too long, and for which there is room.

    Those that published last come first.
    """
    kept: dict[str, PublisherState] = {}
    size = 0
    for publisher_id in sorted(sequences, key=last_seen.__getitem__, reverse=True):
        size += _json_bytes(publisher_id) + _PUBLISHER_BYTES
        if now - last_seen[publisher_id] >= ttl or size > room:
            break
        kept[publisher_id] = PublisherState(sequences[publisher_id], last_seen[publisher_id])
    return kept


def written_kept(
    fold: Fold, publishers: Mapping[str, PublisherState], own_runs: Collection[str]
) -> dict[str, list[int]]:
    """Return what the newest attempts wrote, packed, by execution, as far as there is room.

    What has no room is left out: what was written first, and the executions that have been idle
    longest. The rewind of a retry then leaves it out, too.

    Args:
        fold: The run's fold.
        publishers: Publishers that are handed on; those that published last come first.
        own_runs: Runs of this workflow; their activities are not retried in another run.
    """
    kept: dict[str, list[int]] = {}
    room = MAX_WRITTEN_BYTES
    for publisher_id in publishers:
        activity = parse_publisher_id(publisher_id)
        if activity is not None and activity.run_id in own_runs:
            continue
        execution, ranges = fold.written_by(publisher_id)
        if not ranges or execution in kept:
            continue
        room -= _escaped_bytes(execution) + _EXECUTION_BYTES
        numbers, size = last_packed(ranges, room)
        if not numbers:
            break
        kept[execution] = numbers
        room -= size
    return kept


def writers_kept(
    fold: Fold,
    last_seen: Mapping[str, datetime],
    own_runs: Collection[str],
    *,
    now: datetime,
    ttl: timedelta,
) -> tuple[dict[str, PublisherState], str]:
    """Return the publishers that are handed on, and what they wrote as a state's ``written``."""
    publishers = publishers_kept(fold.publishers, last_seen, now=now, ttl=ttl)
    written = written_kept(fold, publishers, own_runs)
    if not written:
        return publishers, ""
    room = MAX_PUBLISHERS_BYTES - _json_bytes(written_text(written))
    publishers = publishers_kept(fold.publishers, last_seen, now=now, ttl=ttl, room=room)
    known = {fold.written_by(publisher_id)[0] for publisher_id in publishers}
    return publishers, written_text({name: written[name] for name in written if name in known})


def written_text(written: Mapping[str, list[int]]) -> str:
    """Return what attempts wrote, packed, as a state's ``written``: a single text, as the tail."""
    return json.dumps(written, separators=(",", ":")) if written else ""


def written_of(state: State) -> dict[str, list[range]]:
    """Return what a state says that attempts wrote."""
    return written_in(json.loads(state.written)) or {} if state.written else {}


def closed_text(closing: Closing | None) -> str:
    """Return what closed the stream, as a state's ``closed``."""
    return "" if closing is None else json.dumps(closing_fields(closing))


def closing_of(state: State) -> Closing | None:
    """Return what a state says that closed the stream."""
    return closing_in(json.loads(state.closed)) if state.closed else None


def runs_kept(runs: Sequence[RunRef], head: int, base: int) -> list[RunRef]:
    """Return the last runs that hold something from ``base`` on."""
    ends = [run.first_offset for run in runs[1:]] + [head]
    return [run for run, end in zip(runs, ends, strict=True) if end > base][-MAX_RUN_REFS:]


def tail_room(
    publishers: Mapping[str, PublisherState],
    runs: Sequence[RunRef],
    order: str,
    written: str = "",
    closed: str = "",
) -> int:
    """Return how many bytes of the state are left for items."""
    taken = sum(_json_bytes(publisher_id) + _PUBLISHER_BYTES for publisher_id in publishers)
    taken += len(runs) * _RUN_BYTES + _json_bytes(order) + _COUNTERS_BYTES
    taken += sum(_json_bytes(text) for text in (written, closed) if text)
    return max(0, MAX_STATE_BYTES - taken)


def entries_of(state: State) -> tuple[list[Entry], int]:
    """Return the items that a state carries, and the offset of the first."""
    if not state.tail:
        return entries_in_texts((item.topic, item.data) for item in state.log), state.base_offset
    entries = entries_in_texts((topic, text) for topic, text in json.loads(state.tail))
    return entries, state.base_offset - len(entries)


def tail_text(entries: Sequence[Entry], room: int) -> str:
    """Return the last items that fit into ``room`` bytes of the state, as its ``tail``.

    It is a single text, since decoding a typed object for each item would cost the next run's
    first task more than everything else, and usually nobody asks for the items.
    """
    texts: list[str] = []
    for topic, kind, data in reversed(entries):
        room -= carried_bytes(topic, kind, data)
        if room < 0:
            break
        texts.append(f'[{json.dumps(topic)},"{text_of(kind, data)}"]')
    return f"[{','.join(reversed(texts))}]" if texts else ""


def carried_bytes(topic: str, kind: bytes, data: bytes) -> int:
    """Return how many bytes an item takes in a state's ``tail``."""
    usual = len(topic) <= USUAL_TOPIC
    size = _topic_bytes(topic) if usual else _escaped_bytes(topic)
    return size + text_length(kind, data) + ITEM_BYTES


@lru_cache(maxsize=MOST_TOPICS)
def _topic_bytes(topic: str) -> int:
    return _escaped_bytes(topic)


def _escaped_bytes(text: str) -> int:
    """Return the size of a string in a JSON text that is itself a string of the state.

    So it is escaped twice.
    """
    return _json_bytes(json.dumps(text)) - 2


def whole_log(entries: Sequence[Entry]) -> list[WireItem]:
    """Return items as the contrib hands them on."""
    return [WireItem(topic, text_of(kind, data)) for topic, kind, data in entries]


def _json_bytes(text: str) -> int:
    return len(json.dumps(text))
