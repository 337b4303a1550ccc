"""What a run hands on to the next stays within the payloads that the SDK takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import temporalio.contrib.workflow_streams as contrib
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.converter import DataConverter

from tests.read.hosts import hosting
from tests.read.story import roll_over, send
from workflow_streams import WorkflowStreamClient
from workflow_streams.host import hand_over
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.entries import entry_of
from workflow_streams.log.fold import Fold
from workflow_streams.log.payloads import JSON_KIND, json_payload
from workflow_streams.log.publisher_ids import ActivityPublisher, Attempt
from workflow_streams.log.wire import Closing, PublisherState, RunRef, WorkflowStreamState

NOW = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)
WARNED_FROM = 512 * 1024
# Each character takes six in JSON at the worst.
texts = st.text(st.sampled_from('ab"\\é\ud800'), max_size=40)


def batch(publisher: str, sequence: int, *values: str) -> RawValue:
    entries = [entry_of("out", json_payload(f'"{value}"'.encode())) for value in values]
    return RawValue(batch_payload(entries, publisher, sequence))


@settings(deadline=None)
@given(st.dictionaries(texts, st.integers(0, 5000), max_size=20), st.integers(1, 900), texts)
def test_a_state_is_never_larger_than_it_may_be(
    idle: dict[str, int], copies: int, topic: str
) -> None:
    sequences = {f"{name} {i}": i for name in idle for i in range(copies)}
    seen = {
        f"{name} {i}": NOW - timedelta(seconds=s) for name, s in idle.items() for i in range(copies)
    }
    publishers = hand_over.publishers_kept(sequences, seen, now=NOW, ttl=timedelta(minutes=15))
    runs = [RunRef("0199c7d2-2f6e-7000-8000-000000000001", 10**9)] * hand_over.MAX_RUN_REFS
    order = "\x00" * wire.MAX_ID_CHARACTERS
    closing = Closing("\x00" * wire.MAX_ID_CHARACTERS, 10**99, runs[0].run_id)
    closed = hand_over.closed_text(closing)
    room = hand_over.tail_room(publishers, runs, order, closed=closed)
    assert room >= hand_over.SURE_TAIL_BYTES
    tail = hand_over.tail_text([(topic, JSON_KIND, b"ABC" * 10)] * 20_000, room)
    state = WorkflowStreamState(
        [], 10**9, publishers, 10**9, runs, 10**9, order, 10**6, tail, closed=closed
    )
    [payload] = DataConverter.default.payload_converter.to_payloads([state])
    assert payload.ByteSize() <= hand_over.MAX_STATE_BYTES
    entries, start = hand_over.entries_of(state)
    assert start == 10**9 - len(entries)
    assert hand_over.closing_of(state) == closing
    assert set(entries) <= {(topic, JSON_KIND, b"ABC" * 10)}


def attempt_of(name: str) -> str:
    return ActivityPublisher("run", name, Attempt(0, 1)).publisher_id("n")


@settings(deadline=None)
@given(
    st.lists(st.tuples(texts, st.integers(1, 9000)), max_size=12),
    st.integers(0, 1500),
    st.integers(1, 10**9),
)
def test_what_attempts_wrote_is_handed_on_as_far_as_there_is_room(
    writers: list[tuple[str, int]], others: int, start: int
) -> None:
    """The newest of the activity that came last, before all others, and never too much."""
    fold = Fold(start)
    for name, batches in writers:
        for sequence in range(1, batches + 1):
            fold.batch(attempt_of(name), sequence, 1 + sequence % 120)
            fold.own(1 + sequence % 7)
    for i in range(others):
        fold.batch(f"service {i}", 1, 1)
    last_seen = {who: NOW - timedelta(seconds=i) for i, who in enumerate(fold.publishers)}
    publishers, written = hand_over.writers_kept(
        fold, last_seen, {"another"}, now=NOW, ttl=timedelta(days=1)
    )
    runs = [RunRef("0199c7d2-2f6e-7000-8000-000000000001", 10**9)] * hand_over.MAX_RUN_REFS
    order = "\x00" * wire.MAX_ID_CHARACTERS
    room = hand_over.tail_room(publishers, runs, order, written)
    assert room >= hand_over.SURE_TAIL_BYTES
    tail = hand_over.tail_text([("t", JSON_KIND, b"ABC" * 10)] * 20_000, room)
    state = WorkflowStreamState(
        [], 10**9, publishers, 10**9, runs, 10**9, order, 10**6, tail, 0, written
    )
    [payload] = DataConverter.default.payload_converter.to_payloads([state])
    assert payload.ByteSize() <= hand_over.MAX_STATE_BYTES
    kept = hand_over.written_of(state)
    whole = fold.written
    for source, ranges in kept.items():
        assert ranges[-1] == whole[source][-1]
        assert ranges == whole[source][len(whole[source]) - len(ranges) :]
    if writers:
        source, ranges = fold.written_by(attempt_of(writers[0][0]))
        assert kept[source] == ranges if len(ranges) <= 5000 else len(kept[source]) >= 5000
    none = hand_over.writers_kept(fold, last_seen, {"run"}, now=NOW, ttl=timedelta(days=1))
    assert none[1] == ""


def test_the_publishers_that_have_been_idle_longest_are_dropped_first() -> None:
    names = [f"{i:04d}" + "x" * 500 for i in range(1000)]
    seen = {name: NOW - timedelta(seconds=i) for i, name in enumerate(names)}
    kept = hand_over.publishers_kept(
        dict.fromkeys(names, 7), seen, now=NOW, ttl=timedelta(minutes=15)
    )
    assert list(kept) == names[: len(kept)]
    assert 300 < len(kept) < 900
    assert kept[names[0]] == PublisherState(7, NOW)


async def test_many_publishers_with_long_ids_do_not_stop_a_stream(
    client: Client, unique: Callable[[str], str]
) -> None:
    """Whoever may write could, as long as they were all handed on."""
    name = unique("crowd")
    ids = [f"{i:04d}".ljust(wire.MAX_ID_CHARACTERS, "é") for i in range(400)]
    async with hosting(client, name) as handle:
        for publisher in ids:
            await handle.signal(wire.PUBLISH_SIGNAL, batch(publisher, 1, "first"))
        too_long = "x" * (wire.MAX_ID_CHARACTERS + 1)
        await handle.signal(wire.PUBLISH_SIGNAL, batch(too_long, 1, "refused"))
        assert await send(client, name, "counted") == [400]
        for _ in range(2):
            run = await roll_over(handle)
            history = await client.get_workflow_handle(name, run_id=run).fetch_history()
            started = history.events[0].workflow_execution_started_event_attributes
            assert started.input.ByteSize() < WARNED_FROM
            # The newest is still known, the oldest is not.
            await handle.signal(wire.PUBLISH_SIGNAL, batch(ids[-1], 1, "again"))
        await handle.signal(wire.PUBLISH_SIGNAL, batch(ids[0], 1, "as if new"))
        assert await send(client, name, "last") == [402]


async def test_small_items_for_subscribers_that_poll_are_counted_as_they_are_sent(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("small")
    async with hosting(client, name) as handle:
        stream = contrib.WorkflowStreamClient.create(client, name)
        await send(client, name, "first")
        assert (await anext(stream.subscribe())).offset == 0
        async with WorkflowStreamClient.create(client, name) as publisher:
            for i in range(30_000):
                publisher.topic("t", type=int).publish(i % 10)
        run = await roll_over(handle)
        history = await client.get_workflow_handle(name, run_id=run).fetch_history()
        started = history.events[0].workflow_execution_started_event_attributes
        assert 100_000 < started.input.ByteSize() < WARNED_FROM
        assert await stream.get_offset() == 30_001


async def test_the_memo_does_not_hold_the_table_of_publishers(
    client: Client, unique: Callable[[str], str]
) -> None:
    """It is part of each description of the workflow, and of each row of a list."""
    name = unique("memo")
    async with hosting(client, name) as handle:
        for i in range(400):
            publisher = f"{i:04d}".ljust(wire.MAX_ID_CHARACTERS, "x")
            await handle.signal(wire.PUBLISH_SIGNAL, batch(publisher, 1))
        await roll_over(handle)
        assert await send(client, name, "small") == [0]
        memo = (await handle.describe()).raw_info.memo
        assert wire.MEMO_KEY in memo.fields
        assert memo.ByteSize() < 2_000
