"""Items in columns: they come out as they went in, however they are packed, and none is lost."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workflow_streams.log import packed
from workflow_streams.log.binary import MalformedError, Reader, number_bytes, text_bytes
from workflow_streams.log.compact import SIGNAL_BOUNDS
from workflow_streams.log.entries import entries_bytes
from workflow_streams.log.packed import Body, PackedEntries, Packer, pack, read_body
from workflow_streams.log.payloads import JSON_KIND, UNREADABLE_KIND
from workflow_streams.log.wire import Entry
from workflow_streams.read.moments import content_size, entries_size

from .messages import entries, plain

# Several topics and kinds, next to each other and not.
few = st.tuples(
    st.sampled_from(["a", "b", "\ud83d"]),
    st.sampled_from([JSON_KIND, b"", UNREADABLE_KIND]),
    st.sampled_from([b"", b"1", b"x" * 127, b"x" * 128, b"x" * 300]),
)
many = st.lists(few | entries, max_size=9) | st.lists(few, max_size=30)


def read_again(items: PackedEntries) -> PackedEntries:
    """Write the body, and read it."""
    reader = Reader(b"".join(items.body.written()))
    body = read_body(reader, len(items), SIGNAL_BOUNDS)
    assert reader.rest() == b""
    assert body == items.body
    return PackedEntries(body, 0, len(items))


@given(many)
@example([])
@example([("a", JSON_KIND, b"x" * 127), ("a", JSON_KIND, b"x" * 128)])
@example([("a", JSON_KIND, b""), ("b", JSON_KIND, b""), ("a", b"", b"")])
def test_items_come_out_as_they_went_in(items: list[Entry]) -> None:
    found = pack(items)
    assert found.unpacked() == list(found) == items
    assert found == items
    assert (len(found), bool(found), found.are_all) == (len(items), bool(items), True)
    assert found.topics == {topic for topic, _, _ in items}
    assert set(found.body.kinds) == {kind for _, kind, _ in items}
    assert read_again(found) == items


@given(many, many)
def test_items_are_the_same_or_not_however_they_are_packed(
    some: list[Entry], others: list[Entry]
) -> None:
    assert (pack(some) == pack(others)) == (some == others)
    assert (pack(some).digest == pack(others).digest) == (some == others)
    both = pack([*some, *others])
    first = PackedEntries(both.body, 0, len(some))
    rest = PackedEntries(both.body, len(some), len(both))
    assert (first, rest) == (some, others)
    assert (first.digest, rest.digest) == (pack(some).digest, pack(others).digest)
    assert first.are_all == (not others)
    assert [first[index] for index in range(len(some))] == some
    assert first[1:] == some[1:]


@pytest.mark.parametrize(
    "others",
    [
        [("tt", b"k", b"d")],
        [("t", b"kk", b"d")],
        [("t", b"k", b"dd")],
        [("tk", b"", b"d")],
        [("t", b"", b"kd")],
        [("t", b"", b"k1:d")],
        [("t", b"k", b"d"), ("", b"", b"")],
        [],
    ],
)
def test_the_digest_tells_where_one_thing_ends_and_the_next_begins(others: list[Entry]) -> None:
    assert pack(others).digest != pack([("t", b"k", b"d")]).digest


@given(many, st.integers(1, 4))
def test_items_may_be_added_bit_by_bit(items: list[Entry], size: int) -> None:
    packer, rest = Packer(), iter(items)
    assert packer.packed() == []
    while some := list(islice(rest, size)):
        packer.add(some)
        packer.add([])
    assert packer.count == len(items)
    assert packer.packed().body == pack(items).body
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_AT_ONCE", size)
        assert pack(iter(items)).body == packer.packed().body


def test_what_items_have_in_common_is_written_once() -> None:
    words = plain("topic", *range(10)) * 100
    assert b"".join(pack(words).body.written()).count(b"topic") == 1
    # One after the other of two topics, and each in a row.
    mixed, rows = words + plain("other", *range(10)) * 100, pack(words).body.size
    assert pack(mixed).body.size == 2 * rows + len(b"\0" + b"\xe8\x07" + b"\1" + b"\xe8\x07")


def test_bytes_that_do_not_pack_are_not_compressed() -> None:
    random = Random(1).randbytes(100_000)
    for data, compressed in (
        (random, False),
        (random[:100], False),
        (bytes(30), False),
        (bytes(100), True),
        (bytes(100_000), True),
        (random[:40_000] + bytes(20_000) + random[:40_000], True),
        (bytes(40_000) + random[:20_000] + bytes(40_000), False),
    ):
        found = pack([("t", b"", data)])
        assert (found.packed_bytes < found.body.size) == compressed, len(data)
        assert found.packed_bytes <= found.body.size
        assert read_again(found) == [("t", b"", data)]


@given(st.lists(few, min_size=1, max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_sizes_are_told_without_unpacking_anything(items: list[Entry], at: int, count: int) -> None:
    part = PackedEntries(pack(items * 20).body, min(at, len(items)), min(at + count, len(items)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Body, "entries", None)
        sizes = part.data_bytes, part.text_bytes, part.held_bytes, part.packed_bytes
        assert len(part.topics) == len({topic for topic, _, _ in items})
    assert all(sizes) or not len(part)


def test_sizes_are_about_those_of_the_items() -> None:
    words = plain("topic", *(f"word {number}" for number in range(1000)))
    found = pack(words)
    assert 0.9 < found.text_bytes / entries_bytes(words) < 1.1
    assert 0.9 < found.data_bytes / sum(len(data) for _, _, data in words) < 1.2
    half = PackedEntries(found.body, 0, 500)
    assert (half.text_bytes, half.data_bytes) == (found.text_bytes // 2, found.data_bytes // 2)
    empty = pack([])
    assert (empty.text_bytes, empty.data_bytes, empty.held_bytes) == (0, 0, 0)
    assert empty.packed_bytes == 0


@given(st.sampled_from(["topic", "kind", "data"]), st.integers(1, 5))
def test_what_items_hold_in_memory_counts_whatever_part_it_is(part: str, count: int) -> None:
    items = {
        "topic": [("t" * 1_000_000, b"", b"")],
        "kind": [("t", b"k" * 1_000_000, b"")],
        "data": [("t", b"", b"d" * 1_000_000)],
    }[part] * count
    size = 1_000_000 * (count if part == "data" else 1)
    assert size <= pack(items).held_bytes < size + 100
    assert size <= content_size(items) < size + 100
    assert content_size(items) < entries_size(items) < content_size(items) + 200 * count


@pytest.mark.parametrize(
    ("count", "body"),
    [
        (1, b""),
        (1, b"\1\1t\1\0"),
        (1, b"\1\1t\1\2\0\1\0"),
        (1, b"\1\1t\1\0\2\1\0"),
        (1, b"\0\1\0\0\1\0"),
        (1, b"\1\1t\0\0\1\0"),
        (1, b"\2\1t\1u\1\0\0\1\0"),
        (2, b"\1\1t\1\0\0\1\0"),
        (1, b"\1\1t\2\0\1\0\0\1\0"),
        (1, b"\1\1\xff\1\0\0\1\0"),
        (1, b"\1\1t\1\0\0" + b"\xff" * 9),
        (SIGNAL_BOUNDS.items + 1, b"\1\1t\1\0\0" + number_bytes(SIGNAL_BOUNDS.items + 1)),
        (1, b"\1\1t\1\0\0" + number_bytes(SIGNAL_BOUNDS.body_bytes + 1)),
    ],
)
def test_a_body_that_says_nonsense_is_malformed(count: int, body: bytes) -> None:
    with pytest.raises(MalformedError):
        read_body(Reader(body), count, SIGNAL_BOUNDS)


@pytest.mark.parametrize(
    "columns",
    [
        b"",
        b"\0\0\0",
        b"\0\3\0\0",  # three of two items
        b"\0\1\0\1\1\1",  # one topic in two rows
        b"\2\2\1\1",  # a topic that is not there
        b"\0\2\2\1\1",  # data that ends too early
        b"\0\2\0\1\1\1\1",  # data that ends too late
    ],
)
def test_items_of_malformed_columns_hold_nothing(columns: bytes) -> None:
    head = number_bytes(2) + text_bytes("t") + text_bytes("u") + b"\1\0"
    body = read_body(Reader(head + written(columns)), 2, SIGNAL_BOUNDS)
    assert PackedEntries(body, 0, 2) == [("t", UNREADABLE_KIND, b"")] * 2
    good = written(b"\0\1\1\1\1\0x")
    body = read_body(Reader(head + good), 2, SIGNAL_BOUNDS)
    assert PackedEntries(body, 0, 2) == [("t", JSON_KIND, b"x"), ("u", JSON_KIND, b"")]


def written(columns: bytes) -> bytes:
    """Return what a body ends with; two items have columns of two bytes at least."""
    return b"\0" + number_bytes(max(2, len(columns))) + columns


@given(many, st.data())
def test_some_of_them_are_looked_at_without_unpacking_many(
    items: list[Entry], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(items)))
    end = data.draw(st.integers(start, len(items)))
    body = pack(items).body
    unpacked: list[int] = []
    unpack = Body._unpacked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_CUT_ITEMS", 3)
        patch.setattr(packed, "_CUT_BYTES", 200)
        assert body.kept_bytes == len(body.packed)
        part = PackedEntries(body, start, end)
        assert part.unpacked() == items[start:end]
        assert part.within(items) == items[start:end]
        assert list(part.entries_from(0)) == items[start:end]  # by which it has been cut

        def noting(self: Body) -> bytes:
            unpacked.append(self.count)
            return unpack(self)

        patch.setattr(Body, "_unpacked", noting)
        skip = data.draw(st.integers(0, end - start))
        assert list(part.entries_from(skip)) == items[start + skip : end]
        assert all(count <= 3 for count in unpacked)
        assert sum(unpacked) <= end - start - skip + 4
        assert body.kept_bytes >= len(body.packed)


@pytest.mark.parametrize(
    ("topic", "kind", "rest", "taken"),
    [
        ("t" * 128, b"", 65_535, True),
        ("t" * 129, b"", 65_535, False),
        ("", b"k" * 129, 65_535, False),
        ("é" * 64, b"", 65_535, True),
        ("é" * 65, b"", 65_535, False),
        ("t" * 8 * 1024 * 1024, b"", 0, True),
        ("t" * (8 * 1024 * 1024 + 1), b"", 0, False),
    ],
)
def test_what_is_written_once_is_told_with_each_item_within_bounds(
    topic: str, kind: bytes, rest: int, taken: bool
) -> None:
    items = pack([(topic, kind, b"1"), *[("", b"", b"")] * rest])
    assert SIGNAL_BOUNDS.hold(items.body) is taken
    if taken:
        assert len(read_again(items)) == rest + 1
    else:
        with pytest.raises(MalformedError):
            read_again(items)


def test_a_malformed_body_is_cut_into_items_that_hold_nothing() -> None:
    whole = pack(plain("t", *range(5_000))).body
    broken = Body(whole.how, whole.size, whole.packed[:-1], whole.count, whole.topics, whole.kinds)
    part = PackedEntries(broken, 10, 4_000)
    assert list(part.entries_from(5)) == [("t", UNREADABLE_KIND, b"")] * 3_985
    assert pack([]).unpacked() == list(pack([]).entries_from(0)) == []
