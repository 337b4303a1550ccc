"""The compact form of batches: what is written is read alike, and anything else is malformed."""

from __future__ import annotations

import json
import zlib
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from tests.parents import ROOT
from workflow_streams.log import packed, wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.binary import (
    MOST_NUMBER,
    MalformedError,
    Reader,
    block,
    number_bytes,
    text_bytes,
)
from workflow_streams.log.compact import (
    ENCODING,
    MOST_BATCHES,
    SIGNAL_BOUNDS,
    WHOLE_BOUNDS,
    compact_payload,
    compact_payloads,
    parse_compact,
    parse_whole,
)
from workflow_streams.log.fold import Accepted, Duplicate, Fenced, Fold, Malformed
from workflow_streams.log.intake import Intake
from workflow_streams.log.packed import Body, PackedEntries, pack
from workflow_streams.log.payloads import JSON_KIND, UNREADABLE_KIND, text_of
from workflow_streams.log.records import parse_record, record_payload
from workflow_streams.log.wire import MAX_FRAGMENTS, MAX_ID_CHARACTERS, Batch, Fragment, Record

from .messages import as_payload, compact_record, entries, is_entry, plain
from .messages import compact as as_compact
from .messages import texts as any_texts

EXAMPLES = ROOT / "docs" / "wire" / "compact.json"
RUN = "0199c7d2-2f6e-7000-8000-000000000001"
NOTHING = ("t", UNREADABLE_KIND, b"")

texts = st.text(max_size=20)
numbers = st.integers(0, MOST_NUMBER)
attempts = st.builds(
    "wfs1/{}/{}/{}/{}/{}".format,
    st.uuids(),
    st.integers(0, 10**18),
    st.integers(0, 10**18),
    st.text("ab/", max_size=3),
    st.text(max_size=5),
)
batches = st.builds(
    Batch,
    st.lists(entries, max_size=8),
    texts | attempts,
    numbers,
    tag=any_texts,
    close=st.booleans(),
    order=st.none() | texts,
)


def read(payload: Payload) -> list[Batch] | None:
    """Read a message that is no fragment."""
    found = parse_compact(payload.data)
    assert not isinstance(found, Fragment)
    return found


@given(st.lists(batches, max_size=4))
def test_batches_are_read_as_they_were_written(written: list[Batch]) -> None:
    payload = compact_payload(written)
    assert payload.metadata == {"encoding": ENCODING}
    assert read(payload) == written
    assert parse_whole(payload.data) == written


@given(st.lists(batches, min_size=1, max_size=2))
def test_what_was_read_is_written_alike(written: list[Batch]) -> None:
    payload = compact_payload(written)
    assert compact_payload(read(payload) or []) == payload
    # A batch by itself has a body of its own.
    again = [compact_payload([batch]) for batch in read(payload) or []]
    assert again == [compact_payload([batch]) for batch in written]


@given(st.lists(batches, min_size=1, max_size=2), st.data())
def test_what_is_changed_or_cut_is_read_or_malformed(
    written: list[Batch], data: st.DataObject
) -> None:
    message = bytearray(compact_payload(written).data)
    at = data.draw(st.integers(0, len(message) - 1))
    if data.draw(st.booleans()):
        message[at] = data.draw(st.integers(0, 255))
    else:
        del message[at:]
    found = parse_compact(bytes(message))
    if isinstance(found, list):
        for batch in found:
            assert len(batch.publisher_id) <= MAX_ID_CHARACTERS
            assert all(map(is_entry, batch.entries))
            assert len(list(batch.entries)) == len(batch.entries)


@given(st.sampled_from([b"\x01", b"\x02", b"\x03"]), st.binary(max_size=200))
def test_any_bytes_are_read_or_malformed(first: bytes, data: bytes) -> None:
    found = parse_compact(first + data)
    if isinstance(found, Fragment):
        assert first == b"\x02"
        assert 0 <= found.index < found.count <= MAX_FRAGMENTS
        assert data.endswith(found.piece)
    elif found is not None:
        assert first == b"\x01"
    assert (parse_whole(first + data) is not None) == isinstance(found, list)


def test_the_form_of_an_item_among_many_takes_a_few_bytes() -> None:
    words = plain("token", *({"text": f" {word}"} for word in ("the", "way", "of") * 33))
    publisher = f"wfs1/{RUN}/1764305829123456/1/ab12/1"
    short = len(compact_payload([Batch(words, publisher, 7)]).data)
    usual = len(batch_payload(words, publisher, 7).data)
    assert usual / short > 20


HEADER = b"\x01" + number_bytes(1) + b"\x00" + text_bytes("p") + number_bytes(1)
ONE_KIND = number_bytes(1) + number_bytes(0)


def message(count: int, body: bytes, *, size: int | None = None, packed: bool = False) -> Payload:
    """Return a batch of one topic, with a body that is as asked for."""
    stated = number_bytes(len(body) if size is None else size)
    body = zlib.compress(body, 9) if packed else body
    topics = number_bytes(1) + text_bytes("t")
    how = b"\x01" if packed else b"\x00"
    data = HEADER + number_bytes(count) + topics + ONE_KIND + how + stated + body
    return Payload(metadata={"encoding": ENCODING}, data=data)


def test_what_is_written_by_hand_is_read() -> None:
    for compressed in (False, True):
        found = read(message(2, b"\x01\x02" + b"1" + b"23", packed=compressed))
        assert found == [Batch(plain("t", 1, 23), "p", 1)]


def test_half_a_character_is_written_as_if_it_were_a_whole_one() -> None:
    payload = compact_payload([Batch([("\ud83d", JSON_KIND, b"1")], "p", 1, tag="\udc00")])
    assert text_bytes("\ud83d") == b"\x03\xed\xa0\xbd"
    assert b"\x03\xed\xa0\xbd" in payload.data
    assert read(payload) == [Batch([("\ud83d", JSON_KIND, b"1")], "p", 1, tag="\udc00")]
    # A publisher's id is handed on in a state, which cannot hold it.
    assert read(compact_payload([Batch([], "\ud83d", 1)])) is None
    assert read(compact_payload([Batch([], "p", 1, order="\ud83d")])) is None


@pytest.mark.parametrize(
    "payload",
    [
        message(SIGNAL_BOUNDS.items + 1, bytes(SIGNAL_BOUNDS.items + 1), packed=True),
        message(1, b"\x00" * (SIGNAL_BOUNDS.body_bytes + 1), packed=True),
        message(3, b"\x00\x00"),
        Payload(data=b"\x01\x02" + 2 * (b"\x00\x00\x01" + number_bytes(SIGNAL_BOUNDS.items - 1))),
        Payload(data=HEADER + b"\x01" + b"\x00" + ONE_KIND + b"\x00\x01\x00"),
        Payload(data=HEADER + b"\x01" + b"\x01\x01t" + b"\x00" + b"\x00\x01\x00"),
        Payload(data=HEADER + b"\x01" + b"\x01\x01t" + b"\x01\x02" + b"\x00\x01\x00"),
        Payload(data=HEADER + b"\x01" + b"\x01\x01t" + ONE_KIND + b"\x02\x01\x00"),
        Payload(data=HEADER + b"\x01" + b"\x01\x01t" + b"\x01\x01\x05" + b"\x00\x01\x00"),
        Payload(data=b"\x00" + message(1, b"\x01" + b"2").data[1:]),
        Payload(data=b"\x03" + message(1, b"\x01" + b"2").data[1:]),
        Payload(data=b"\x04" + message(1, b"\x01" + b"2").data[1:]),
        record_payload(Record(0, plain("t", 1))),
        Payload(data=b""),
        Payload(data=b"\x01" + number_bytes(MOST_BATCHES + 1)),
        Payload(data=b"\x01" + number_bytes(1) + b"\x10" + text_bytes("p") + b"\x01\x00\x00\x00"),
        Payload(data=b"\x01" + number_bytes(1) + b"\x00" + b"\x01\xff" + b"\x01\x00\x00\x00"),
        Payload(
            data=b"\x01" + number_bytes(1) + b"\x00"
            + text_bytes("p" * (MAX_ID_CHARACTERS + 1)) + b"\x01\x00\x00\x00"
        ),
    ],
)  # fmt: skip
def test_what_is_not_in_this_form_is_malformed(payload: Payload) -> None:
    payload.metadata["encoding"] = ENCODING
    assert parse_compact(payload.data) is None
    fold = Fold()
    assert [judged.verdict for judged in Intake(fold).take(payload)] == [Malformed()]
    assert (fold.head, fold.malformed) == (0, 1)


@pytest.mark.parametrize(
    "payload",
    [
        message(1, b"\x01"),
        message(1, b"\x01" + b"22"),
        message(1, b"\x01" + b"2", size=1),
        message(1, b"\x01" + b"2", size=3),
        message(1, b"\x01" + b"2", size=1, packed=True),
        message(1, b"\x01" + b"2", size=3, packed=True),
        message(1, b"\x81\x00" + b"2"),
        Payload(data=message(1, b"\x01" + b"2", packed=True).data + b"x"),
        Payload(data=message(1, b"\x01" + b"2", packed=True).data[:-1]),
    ],
)
def test_items_of_a_malformed_body_take_their_offsets_and_hold_nothing(payload: Payload) -> None:
    """Whoever judges does not look into the body."""
    payload.metadata["encoding"] = ENCODING
    fold = Fold()
    [judged] = Intake(fold).take(payload)
    assert judged.verdict == Accepted(0, 1)
    assert list(judged.entries) == [NOTHING]
    assert fold.head == 1


def test_a_body_that_is_not_compressed_but_says_so_holds_nothing() -> None:
    data = HEADER + b"\x01" + b"\x01\x01t" + ONE_KIND + b"\x01\x02" + b"no zlib"
    [batch] = read(Payload(data=data)) or []
    assert batch.entries == [NOTHING]
    assert batch.entries[0] == batch.entries[0:1][0] == NOTHING
    assert batch.entries != NOTHING
    assert batch.entries != "t"
    assert batch.entries != 1


def test_a_batch_is_judged_without_unpacking_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    words = plain("t", *["word"] * 100)
    payload = compact_payload([Batch(words, "p", 1)])
    monkeypatch.setattr(packed.zlib, "decompressobj", None)
    fold = Fold()
    [judged] = Intake(fold).take(payload)
    assert isinstance(judged.entries, PackedEntries)
    assert (fold.head, len(judged.entries), judged.entries.topics) == (100, 100, {"t"})
    text = len(batch_payload(words, "p", 1).data)
    assert 0.8 < judged.entries.text_bytes / text < 1.2
    assert judged.entries.data_bytes == 100 * len(b'."word"')
    assert judged.size == judged.entries.held_bytes == 100 * len(b'."word"') + len(JSON_KIND) + 1


def test_a_body_is_not_unpacked_beyond_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two megabytes of a signal could become two gigabytes."""
    asked: list[int] = []
    begin = zlib.decompressobj

    class Noting:
        def __init__(self) -> None:
            self._inflater = begin()

        def decompress(self, data: bytes, most: int) -> bytes:
            asked.append(most)
            return self._inflater.decompress(data, most)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inflater, name)

    monkeypatch.setattr(packed.zlib, "decompressobj", Noting)
    bomb = message(1, b"\x00" * 50_000_000, size=100, packed=True)
    [batch] = read(bomb) or []
    assert list(batch.entries) == [NOTHING]
    assert asked == [101]


def test_each_batch_of_a_message_is_judged_by_itself() -> None:
    old, new = (f"wfs1/{RUN}/{scheduled}/1/n/1" for scheduled in (1, 2))
    payload = compact_payload(
        [
            Batch(plain("t", 0), "p", 1),
            Batch([*plain("t", 1), *plain("u", 2)], new, 1),
            Batch(plain("t", 3), "p", 1),
            Batch(plain("t", 4), old, 1),
            Batch(plain("t", 5), "p", 2),
        ]
    )
    fold, heads = Fold(), list[int]()
    judged = []
    for one in Intake(fold).take(payload):
        judged.append(one.verdict)
        heads.append(fold.head)
    assert judged[:3] == [Accepted(0, 1), Accepted(1, 2), Duplicate()]
    assert isinstance(judged[3], Fenced)
    assert judged[4:] == [Accepted(3, 1)]
    assert heads == [1, 3, 3, 3, 4]


@given(st.integers(1, 3 * 1000), st.integers(0, 5))
def test_a_batch_over_the_limit_of_a_signal_is_cut_into_fragments_that_make_it_up_again(
    size: int, seed: int
) -> None:
    rng = Random(seed)
    batch = Batch([("t", b"", rng.randbytes(2_000)) for _ in range(3)], "p", 1, tag="x")
    [message] = [compact_payload([batch]).data]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "FRAGMENT_BYTES", max(size, -(-len(message) // MAX_FRAGMENTS)))
        payloads = list(compact_payloads(batch))
        size = wire.FRAGMENT_BYTES
    assert all(payload.metadata == {"encoding": ENCODING} for payload in payloads)
    found = [f for payload in payloads if isinstance(f := parse_compact(payload.data), Fragment)]
    count = len(payloads)
    assert count == -(-len(message) // size)
    assert [(f.tag, f.index, f.count) for f in found] == [("x", i, count) for i in range(count)]
    assert b"".join(f.piece for f in found) == message
    assert {len(f.piece) for f in found[:-1]} == {size}
    assert all(len(payload.data) <= size + 10 for payload in payloads)
    assert parse_whole(message) == [batch]


def test_a_batch_that_a_signal_can_hold_is_not_cut() -> None:
    batch = Batch(plain("t", "x" * 1000), "p", 1, tag="x", close=True, order="k")
    assert list(compact_payloads(batch)) == [compact_payload([batch])]
    for size, count in ((0, 1), (-1, 2)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wire, "FRAGMENT_BYTES", len(compact_payload([batch]).data) + size)
            assert len(list(compact_payloads(batch))) == count


@pytest.mark.parametrize("unit", ["items", "bytes"])
def test_what_one_signal_must_not_become_comes_as_a_fragment(unit: str) -> None:
    """However well it packs: readers bound what they unpack of one signal."""
    fits = (
        [("t", b"", b"")] * SIGNAL_BOUNDS.items
        if unit == "items"
        else [("t", b"", bytes(8_388_604))]
    )
    more = [*fits, fits[0]] if unit == "items" else [("t", b"", bytes(8_388_605))]
    for items, fragments in ((fits, False), (more, True)):
        batch = Batch(pack(items), "p", 1, tag="x")
        [payload] = compact_payloads(batch)
        found = parse_compact(payload.data)
        assert isinstance(found, Fragment) == fragments
        if isinstance(found, Fragment):
            assert (found.index, found.count) == (0, 1)
            assert parse_compact(found.piece) is None
            found = parse_whole(found.piece)
        assert found == [batch]


def test_a_message_in_fragments_has_bounds_as_well() -> None:
    items, body_bytes = WHOLE_BOUNDS.items, WHOLE_BOUNDS.body_bytes
    assert parse_whole(message(items, bytes(items), packed=True).data) is not None
    assert parse_whole(message(items + 1, bytes(items + 1), packed=True).data) is None
    assert parse_whole(message(1, b"", size=body_bytes).data) is not None
    assert parse_whole(message(1, b"", size=body_bytes + 1).data) is None


@pytest.mark.parametrize(
    "fragment",
    [
        b"",
        b"\x01",
        text_bytes("x"),
        text_bytes("x") + b"\x00",
        text_bytes("x") + b"\x01\x01",
        text_bytes("x") + b"\x00\x00",
        text_bytes("x") + b"\x80\x00\x01",
        text_bytes("x") + b"\x00" + number_bytes(MAX_FRAGMENTS + 1),
        block(b"\xff") + b"\x00\x01",
    ],
)
def test_a_fragment_that_says_nonsense_is_none(fragment: bytes) -> None:
    assert parse_compact(b"\x02" + fragment) is None


@given(any_texts, st.integers(0, MAX_FRAGMENTS - 1), st.binary())
@example("\ud83d", 0, b"")
def test_a_fragment_is_read_as_the_page_says(tag: str, index: int, piece: bytes) -> None:
    place = number_bytes(index) + number_bytes(MAX_FRAGMENTS)
    found = parse_compact(b"\x02" + text_bytes(tag) + place + piece)
    assert found == Fragment(tag, index, MAX_FRAGMENTS, piece)


def test_a_message_of_other_batches_is_not_written_again_for_one_of_them() -> None:
    """Nor is the whole body sent for a part of it."""
    written = [Batch(plain("t", 1), "p", 1), Batch(plain("t", 2), "q", 1)]
    first, second = read(compact_payload(written)) or []
    assert compact_payload([first]) == compact_payload([written[0]])
    assert compact_payload([second, first]) == compact_payload(written[::-1])
    [whole] = read(compact_payload([first])) or []
    assert isinstance(whole.entries, PackedEntries)
    assert isinstance(first.entries, PackedEntries)
    assert (whole.entries.are_all, first.entries.are_all) == (True, False)
    # One that is all there is goes on as it came, even if nobody could unpack it.
    odd = PackedEntries(Body(1, 9, b"no zlib", 1, ("t",), (JSON_KIND,)), 0, 1)
    assert b"no zlib" in compact_payload([Batch(odd, "p", 1)]).data


@given(st.lists(numbers, max_size=20))
def test_numbers_have_one_form(written: list[int]) -> None:
    reader = Reader(b"".join(map(number_bytes, written)))
    assert reader.numbers(len(written)) == written
    assert reader.rest() == b""
    reader = Reader(b"".join(map(number_bytes, written)))
    assert [reader.number() for _ in written] == written


@given(st.lists(st.integers(0, 127) | numbers, max_size=9), st.integers(0, 3))
def test_numbers_end_where_they_end(written: list[int], more: int) -> None:
    data = b"".join(map(number_bytes, written)) + b"\xff" * more
    reader = Reader(data)
    assert reader.numbers(len(written)) == written
    assert len(reader.rest()) == more
    with pytest.raises(MalformedError):
        Reader(data).numbers(len(written) + 1)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x00", b"\xff" * 9, b"\xff" * 9 + b"\x01"])
def test_a_number_that_could_be_shorter_or_is_too_long_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Reader(data).number()
    with pytest.raises(MalformedError):
        Reader(data).numbers(1)


@pytest.mark.parametrize(
    "data", [b"\x03\x01", b"\x00\x00\x01\x01", b"\x00\x02", b"\x00\x01\x00\x01"]
)
def test_a_column_that_could_be_shorter_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Reader(data).column(1 if data != b"\x00\x01\x00\x01" else 2, 3)


def examples() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(EXAMPLES.read_text())
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda example: example["name"])
def test_the_examples_of_the_page_are_read_as_it_says(example: dict[str, Any]) -> None:
    message = bytes.fromhex(example["bytes"])
    payload = as_compact(message)
    if "record" in example:
        payload = compact_record(message)
        told = example["record"] and parse_record(as_payload({"v": 1} | example["record"]))
        assert parse_record(payload) == told
        assert parse_compact(payload.data) is None
        assert told is None or record_payload(told) == payload
        return
    assert parse_record(payload) is None
    found = parse_compact(payload.data)
    if "fragment" in example:
        assert isinstance(found, Fragment)
        told = {"tag": found.tag, "part": [found.index, found.count], "piece": found.piece.hex()}
        assert told == example["fragment"]
        return
    if example["batches"] is None:
        assert found is None
        return
    assert isinstance(found, list)
    assert [as_json(batch) for batch in found] == example["batches"]
    if not example["compressed"]:
        assert compact_payload(found).data == payload.data


def test_the_fragments_of_the_page_make_up_the_batch_that_it_tells() -> None:
    cut = [e for e in examples() if "fragment" in e]
    whole = [e for e in examples() if e["name"] == "two publishers"]
    assert [e["fragment"]["part"] for e in cut] == [[0, 2], [1, 2]]
    assert "".join(e["fragment"]["piece"] for e in cut) == whole[0]["bytes"]


def test_the_page_has_an_example_of_each_kind_of_message() -> None:
    kinds = [kind for e in examples() for kind in ("batches", "fragment", "record") if kind in e]
    assert {kind: kinds.count(kind) > 1 for kind in kinds} == dict.fromkeys(
        ("batches", "fragment", "record"), True
    )
    assert len(kinds) == len(examples())


def as_json(batch: Batch) -> dict[str, Any]:
    """Return a batch as it is in the JSON form."""
    found: dict[str, Any] = {
        "items": [
            {"topic": t, "data": None if k == UNREADABLE_KIND else text_of(k, d)}
            for t, k, d in batch.entries
        ],
        "publisher_id": batch.publisher_id,
        "sequence": batch.sequence,
    }
    if batch.tag:
        found["tag"] = batch.tag
    if batch.close:
        found["close"] = True
    if batch.order is not None:
        found["order"] = batch.order
    return found
