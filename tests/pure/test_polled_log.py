"""The tail of the stream that polling clients are served from, beside a plain list."""

from __future__ import annotations

import dataclasses
import json
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from workflow_streams.host.hand_over import carried_bytes
from workflow_streams.host.polling import polled_log
from workflow_streams.host.polling.polled_log import (
    ItemOverPollLimitError,
    NoRoomError,
    PolledLog,
    answer_bytes,
)
from workflow_streams.log import packed
from workflow_streams.log.compact import compact_payload, parse_compact
from workflow_streams.log.entries import ENTRY_BYTES, entries_bytes, entry_bytes
from workflow_streams.log.packed import PackedEntries
from workflow_streams.log.payloads import JSON_KIND, UNREADABLE_KIND, item_in, text_length, text_of
from workflow_streams.log.wire import (
    MAX_ITEM_BYTES,
    MAX_POLL_BYTES,
    Batch,
    Entry,
    PollInput,
    WireItem,
)

from .messages import entries as any_entries
from .messages import plain

entries = st.lists(
    st.tuples(
        st.sampled_from(["a", "bb"]),
        st.sampled_from([b"", JSON_KIND, UNREADABLE_KIND]),
        st.binary(max_size=20),
    ),
    max_size=6,
)
# As much as one or a few of these items take.
PAGE = 2 * len('{"topic":"a","data":""},') + 60


def size(items: list[WireItem]) -> int:
    return sum(len(json.dumps(item.topic)) + len(item.data) + ENTRY_BYTES for item in items)


def wire_items(items: list[Entry], start: int) -> list[WireItem]:
    return [WireItem(t, text_of(k, d), offset) for offset, (t, k, d) in enumerate(items, start)]


def as_entry(item: WireItem) -> Entry:
    return item.topic, *item_in(item.data)


def came_packed(*batches: Batch) -> list[PackedEntries]:
    """Return the items of batches as they come in a signal of the compact form."""
    parsed = parse_compact(compact_payload(batches).data)
    assert isinstance(parsed, list)
    return [batch.entries for batch in parsed if isinstance(batch.entries, PackedEntries)]


class Log(RuleBasedStateMachine):
    @initialize(first=entries, start=st.integers(0, 5))
    def begin(self, first: list[Entry], start: int) -> None:
        self.log = PolledLog(first, start)
        self.entries = list(first)
        self.end = start + len(first)

    @property
    def all(self) -> list[WireItem]:
        return wire_items(self.entries, self.end - len(self.entries))

    @rule(more=entries)
    def extend(self, more: list[Entry]) -> None:
        self.log.extend(more)
        self.entries += more
        self.end += len(more)

    @rule(more=entries)
    def extend_packed(self, more: list[Entry]) -> None:
        """As they come in the compact form, with those of another batch before them."""
        _, own = came_packed(Batch(plain("c", 0), "q", 1), Batch(more, "p", 1))
        self.log.extend(own)
        self.entries += more
        self.end += len(more)
        assert self.log.kept_bytes >= 0

    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        base = data.draw(st.integers(0, self.end))
        self.log.drop_below(base)
        self.entries = self.there(base)

    def there(self, offset: int) -> list[Entry]:
        """Return what there is from an offset on."""
        return self.entries[max(0, offset - self.end + len(self.entries)) :]

    @rule(limit=st.integers(1, 400))
    def bound(self, limit: int) -> None:
        before, kept = self.log.text_bytes, len(self.log)
        self.log.bound(limit)
        self.entries = self.entries[len(self.entries) - len(self.log) :]
        if before <= limit:
            assert len(self.log) == kept
        else:
            # What is not packed yet stays.
            assert self.log.text_bytes <= max(limit * 3 // 4, polled_log._SEGMENT_BYTES)

    @rule(most=st.integers(-1, 9))
    def pack(self, most: int) -> None:
        before = self.log.text_bytes, len(self.log)
        self.log.pack(most)
        assert (self.log.text_bytes, len(self.log)) == before

    @rule(offset=st.integers(0, 100))
    def bytes_from(self, offset: int) -> None:
        carried = sum(carried_bytes(*entry) for entry in self.there(offset))
        assert self.log.bytes_from(offset, 10**9) >= carried
        assert self.log.bytes_from(offset, carried) >= carried
        assert self.log.bytes_from(self.end, 0) == 0

    @rule(offset=st.integers(0, 100))
    def entries_from(self, offset: int) -> None:
        assert self.log.entries_from(offset) == self.there(offset)

    @rule(room=st.integers(0, 400))
    def newest(self, room: int) -> None:
        newest = self.log.newest(room)
        assert newest == self.entries[len(self.entries) - len(newest) :]
        assert sum(carried_bytes(*item) for item in newest) >= room or newest == self.entries

    @rule(data=st.data(), topics=st.lists(st.sampled_from(["a", "bb", "none"]), max_size=2))
    def poll_to_the_end(self, data: st.DataObject, topics: list[str]) -> None:
        offset = data.draw(st.integers(0, self.end + 1))
        wanted = [
            item
            for item in self.all
            if item.offset >= offset and (not topics or item.topic in topics)
        ]
        got: list[WireItem] = []
        while True:
            result = self.log.page(PollInput(topics, offset), self.end)
            assert result.items or not result.more_ready or result.next_offset > offset
            assert size(result.items) <= PAGE or len(result.items) == 1
            got += result.items
            offset = result.next_offset
            if not result.more_ready:
                break
        assert got == wanted
        assert offset == self.end

    @invariant()
    def it_holds_what_the_list_holds(self) -> None:
        assert len(self.log) == len(self.entries)
        assert self.log.start == self.end - len(self.entries)


class TestLog(Log.TestCase):
    @pytest.fixture(autouse=True, scope="class")
    @staticmethod
    def small_pages() -> object:
        patch = pytest.MonkeyPatch()
        patch.setattr(polled_log, "MAX_POLL_BYTES", PAGE)
        patch.setattr(polled_log, "_SEGMENT_BYTES", 50)
        patch.setattr(polled_log, "_MOST_PASSED_OVER", 3)
        patch.setattr(polled_log, "_MOST_TOPICS", 1)
        yield
        patch.undo()


def test_it_holds_a_tail_of_the_stream_and_gives_pages_of_topics() -> None:
    log = PolledLog(plain("a", 0), 5)
    log.extend([*plain("b", 1), *plain("a", 2), *plain("b", 3)])
    assert (log.start, len(log)) == (5, 4)
    assert log.page(PollInput(["a"], 6), 9).items == [WireItem("a", text_of(JSON_KIND, b"2"), 7)]
    assert log.entries_from(7) == [*plain("a", 2), *plain("b", 3)]
    log.drop_below(8)
    assert log.page(PollInput(), 9).items == [WireItem("b", text_of(JSON_KIND, b"3"), 8)]


def test_an_item_whose_text_is_no_payload_is_told_as_such_and_spoils_no_other() -> None:
    log = PolledLog([("t", UNREADABLE_KIND, b""), *plain("t", 1)], 0)
    odd, good = log.page(PollInput(), 2).items
    assert item_in(odd.data) == (UNREADABLE_KIND, b"")
    assert item_in(good.data) == (JSON_KIND, b"1")


def sized(size: int) -> Entry:
    """Return an item whose text has so many bytes, a multiple of four over 200,000."""
    entry = ("t", b"", b"x" * (size * 3 // 4 - 4))
    assert text_length(b"", entry[2]) == size
    return entry


@given(st.integers(1, 3))
def test_an_item_that_fits_no_answer_is_told_when_it_comes_up(before: int) -> None:
    small, large = plain("t", 1), sized(MAX_ITEM_BYTES // 4 * 4)
    log = PolledLog([*small * before, large, *small], 0)
    page = log.page(PollInput(), before + 2)
    assert (len(page.items), page.next_offset, page.more_ready) == (before, before, True)
    with pytest.raises(ItemOverPollLimitError, match=f"Item {before} "):
        log.page(PollInput([], before), before + 2)
    assert len(log.page(PollInput([], before + 1), before + 2).items) == 1


def test_a_page_holds_about_a_megabyte() -> None:
    log = PolledLog([sized(300_000)] * 5, 0)
    page = log.page(PollInput(), 5)
    assert (len(page.items), page.next_offset, page.more_ready) == (3, 3, True)
    assert size(page.items) <= MAX_POLL_BYTES


def test_a_page_holds_what_there_is_room_for_or_says_what_its_first_item_takes() -> None:
    log = PolledLog([("t", b"", b"x" * 750)] * 9, 0)
    one = answer_bytes(log.page(PollInput(), 9, 1).items)
    assert len(log.page(PollInput(), 9, 3 * one).items) == 3
    assert len(log.page(PollInput(), 9, 3 * one - 1).items) == 2
    # The first item may take more than the share, if there is room for it.
    assert len(log.page(PollInput(), 9, one // 2, one).items) == 1
    with pytest.raises(NoRoomError) as raised:
        log.page(PollInput(), 9, one // 2, one - 1)
    assert raised.value.size == one
    assert log.page(PollInput(["other"], 0), 9, 1, 1).next_offset == 9


@given(st.lists(any_entries, max_size=9))
def test_an_answer_takes_no_more_than_is_reckoned_with(items: list[Entry]) -> None:
    page = PolledLog(items, 10**11).page(PollInput(), 10**11 + len(items))
    assert list(map(as_entry, page.items)) == items
    text = json.dumps([dataclasses.asdict(item) for item in page.items], separators=(",", ":"))
    assert len(text) <= answer_bytes(page.items) + 2


def test_what_nobody_asks_for_takes_little_memory() -> None:
    log = PolledLog([], 0)
    [item] = plain("delta", {"text": " word"})
    for _ in range(100):
        log.extend([item] * 100)
    assert len(log) == 10_000
    pack(log)
    assert log.kept_bytes < 200_000
    assert log.entries_from(9_990) == [item] * 10


def test_a_stream_of_tokens_takes_a_few_bytes_for_each() -> None:
    log = PolledLog([], 0)
    words = random.Random(7)
    items = plain("delta", *(token(words) for _ in range(10_000)))
    for start in range(0, len(items), 40):
        log.extend(items[start : start + 40])
    pack(log)
    assert log.kept_bytes < 250_000
    assert log.entries_from(0) == items


def token(words: random.Random) -> dict[str, str]:
    return {"text": " " + "".join(words.choices("etaoinshr", k=words.randint(1, 8)))}


@given(st.lists(any_entries, min_size=1))
@example([("t", b"", b""), ("[]\n{}", b"", b"\n\n")])
def test_items_come_out_as_they_went_in(items: list[Entry]) -> None:
    sizes = sum(entry_bytes(*item) for item in items)
    segment = polled_log._OwnSegment(items, entries_bytes(items))
    assert segment.entries() == items
    assert (segment.size, segment.kept_bytes) == (sizes, sizes)
    assert segment.carried == sum(carried_bytes(*item) for item in items)
    segment.pack()
    segment.pack()  # which changes nothing
    assert segment.entries() == items
    assert segment.packed is not None
    assert segment.kept_bytes == segment.packed.packed_bytes
    assert segment.carried == sum(carried_bytes(*item) for item in items)


def pack(log: PolledLog) -> None:
    while log.pack(1000):
        pass


def test_it_is_packed_bit_by_bit_the_oldest_first() -> None:
    log = PolledLog([], 0)
    item = ("t", b"", b"ABC" * 3000)
    for _ in range(10):
        log.extend([item] * 3)
    whole = log.kept_bytes
    assert (log.pack(0), log.pack(-1)) == (0, 0)
    assert log.kept_bytes == whole
    assert [log.pack(4), log.pack(1)] == [6, 3]
    some = log.kept_bytes
    assert some < whole * 0.8
    log.drop_below(12)  # three packed ones, and one that is not
    assert log.pack(1000) == 18
    assert log.pack(1000) == 0
    assert log.entries_from(0) == [item] * 18


def test_what_a_state_takes_of_packed_items_is_counted_from_where_it_begins() -> None:
    item = ("topic", b"", b"ABC" * 3000)
    log = PolledLog([], 0)
    for _ in range(10):
        log.extend([item])
    whole, last = log.bytes_from(0, 10**9), log.bytes_from(9, 10**9)
    assert whole == 10 * carried_bytes(*item)
    assert carried_bytes(*item) <= last < whole


def test_what_a_state_takes_is_counted_no_further_than_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, unpacked = counted_log(monkeypatch, [("topic", b"", b"ABC" * 3000)] * 10)
    assert log.bytes_from(0, 50_000) > 50_000
    assert len(unpacked) <= 5


@pytest.mark.parametrize("topics", [1, 3, 50])
def test_a_poll_for_another_topic_looks_through_few_items(
    monkeypatch: pytest.MonkeyPatch, topics: int
) -> None:
    """A workflow task has 2 s for all polls together."""
    count = 60_000
    items = [(f"topic {i % topics}", b"", b"ABC") for i in range(count)]
    items.append(("wanted", b"", b"ABC"))
    log, unpacked = counted_log(monkeypatch, items)
    got: list[int] = []
    offset, more, pages = 0, True, 0
    while more:
        unpacked.clear()
        page = log.page(PollInput(["wanted"], offset), len(items))
        assert sum(unpacked) < 30_000
        got += [item.offset for item in page.items]
        assert page.next_offset > offset
        offset, more, pages = page.next_offset, page.more_ready, pages + 1
    assert (got, offset) == ([count], count + 1)
    # Where segments know their topics, they are passed over as a whole.
    assert pages == (1 if topics < 9 else 3)


def counted_log(monkeypatch: pytest.MonkeyPatch, items: list[Entry]) -> tuple[PolledLog, list[int]]:
    """Return a packed log of items, and a list of how many are unpacked each time."""
    unpacked: list[int] = []
    unpack = packed.Body.entries

    def counted(body: packed.Body) -> list[Entry]:
        found = unpack(body)
        unpacked.append(len(found))
        return found

    monkeypatch.setattr(packed.Body, "entries", counted)
    log = PolledLog([], 0)
    for start in range(0, len(items), 100):
        log.extend(items[start : start + 100])
    pack(log)
    return log, unpacked


def test_what_came_packed_stays_so_until_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    words = plain("token", *(number % 7 for number in range(1_000)))
    [came] = came_packed(Batch(words, "p", 1))
    log = PolledLog([], 0)
    with monkeypatch.context() as patched:
        patched.setattr(packed.zlib, "decompressobj", None)
        for _ in range(10):
            log.extend(came)
        assert (len(log), log.pack(1_000)) == (10_000, 0)
        assert log.kept_bytes * 20 < log.text_bytes
        assert log.page(PollInput(["other"], 0), 10_000).items == []
    assert 0.8 < log.text_bytes / entries_bytes(words * 10) < 1.2
    assert log.entries_from(9_999) == words[-1:]
    assert log.bytes_from(9_000, 10**9) == sum(carried_bytes(*word) for word in words)
    assert log.newest(10) == words
    log.extend(came[:0])
    [empty] = came_packed(Batch([], "p", 2))
    log.extend(empty)
    assert len(log) == 10_000
