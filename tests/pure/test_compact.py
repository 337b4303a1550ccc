"""The compact form of batches: what is written is read alike, and anything else is malformed."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from tests.parents import ROOT
from workflow_streams.log import compact
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.binary import (
    MOST_NUMBER,
    MalformedError,
    Reader,
    column_bytes,
    number_bytes,
    text_bytes,
)
from workflow_streams.log.compact import (
    ENCODING,
    MOST_BATCHES,
    MOST_BODY_BYTES,
    MOST_ITEMS,
    PackedEntries,
    compact_payload,
    parse_compact,
)
from workflow_streams.log.entries import entry_json
from workflow_streams.log.fold import Accepted, Duplicate, Fenced, Fold, Malformed
from workflow_streams.log.intake import Intake
from workflow_streams.log.payloads import (
    decode_payload,
    encode_payload,
    encode_serialised,
    json_payload,
)
from workflow_streams.log.wire import MAX_ID_CHARACTERS, Batch, Entry

EXAMPLES = ROOT / "docs" / "wire" / "compact.json"
RUN = "0199c7d2-2f6e-7000-8000-000000000001"


def json_entry(topic: str, value: Any) -> Entry:
    return topic, encode_payload(json_payload(json.dumps(value).encode()))


texts = st.text(max_size=20)
numbers = st.integers(0, MOST_NUMBER)
payloads = st.builds(
    Payload,
    metadata=st.dictionaries(st.text(max_size=5), st.binary(max_size=5), max_size=2),
    data=st.binary(max_size=300),
) | st.binary(max_size=200).map(json_payload)
entries = st.tuples(st.sampled_from(["a", "b", ""]) | texts, payloads.map(encode_payload))
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
    tag=texts,
    close=st.booleans(),
    order=st.none() | texts,
)


@given(st.lists(batches, max_size=4))
def test_batches_are_read_as_they_were_written(written: list[Batch]) -> None:
    read = parse_compact(compact_payload(written))
    assert read is not None
    assert [entries_as_payloads(batch) for batch in read] == [
        entries_as_payloads(batch) for batch in written
    ]
    assert [(b.publisher_id, b.sequence, b.tag, b.close, b.order) for b in read] == [
        (b.publisher_id, b.sequence, b.tag, b.close, b.order) for b in written
    ]


def entries_as_payloads(batch: Batch) -> list[tuple[str, Payload]]:
    return [(topic, decode_payload(data)) for topic, data in batch.entries]


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
    read = parse_compact(Payload(metadata={"encoding": ENCODING}, data=bytes(message)))
    if read is not None:
        for batch in read:
            assert len(batch.publisher_id) <= MAX_ID_CHARACTERS
            assert all(isinstance(text, str) for entry in batch.entries for text in entry)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    parse_compact(Payload(data=b"\x01" + data))


def test_the_form_of_an_item_among_many_takes_a_few_bytes() -> None:
    words = [json_entry("token", {"text": f" {word}"}) for word in ("the", "way", "of") * 33]
    publisher = f"wfs1/{RUN}/1764305829123456/1/ab12/1"
    short = len(compact_payload([Batch(words, publisher, 7)]).data)
    usual = len(batch_payload([entry_json(*word) for word in words], publisher, 7).data)
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
    for packed in (False, True):
        read = parse_compact(message(2, b"\x01\x02" + b"1" + b"23", packed=packed))
        assert read == [Batch([json_entry("t", 1), json_entry("t", 23)], "p", 1)]


@pytest.mark.parametrize(
    "payload",
    [
        message(MOST_ITEMS + 1, bytes(MOST_ITEMS + 1), packed=True),
        message(1, b"\x00" * (MOST_BODY_BYTES + 1), packed=True),
        message(3, b"\x00\x00"),
        Payload(data=b"\x01\x02" + 2 * (b"\x00\x00\x01" + number_bytes(MOST_ITEMS - 1))),
        Payload(data=HEADER + b"\x01" + b"\x00" + ONE_KIND + b"\x00\x01\x00"),
        Payload(data=HEADER + b"\x01" + b"\x01\x01t" + b"\x00" + b"\x00\x01\x00"),
        Payload(data=HEADER + b"\x01" + b"\x01\x01t" + b"\x01\x02" + b"\x00\x01\x00"),
        Payload(data=HEADER + b"\x01" + b"\x01\x01t" + ONE_KIND + b"\x02\x01\x00"),
        Payload(data=b"\x02" + message(1, b"\x01" + b"2").data[1:]),
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
    assert parse_compact(payload) is None
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
    assert list(judged.entries) == [("t", "")]
    assert fold.head == 1


def test_a_body_that_is_not_compressed_but_says_so_holds_nothing() -> None:
    data = HEADER + b"\x01" + b"\x01\x01t" + ONE_KIND + b"\x01\x02" + b"no zlib"
    [batch] = parse_compact(Payload(data=data)) or []
    assert batch.entries == [("t", "")]
    assert batch.entries[0] == batch.entries[0:1][0] == ("t", "")
    assert batch.entries != ("t", "")
    assert batch.entries != "t"
    assert batch.entries != 1


def test_payloads_of_any_form_are_taken_apart() -> None:
    whole = json_payload(b"1").SerializeToString()
    twice = whole + json_payload(b"2").SerializeToString()
    entries = [("t", encode_serialised(data)) for data in (whole, twice)]
    [batch] = parse_compact(compact_payload([Batch(entries, "p", 1)])) or []
    assert [decode_payload(data).data for _, data in batch.entries] == [b"1", b"2"]
    for data in (b"\xff", whole[:-2] + b"\xff" * 12):
        with pytest.raises(ValueError, match="no serialised payload"):
            compact_payload([Batch([("t", encode_serialised(data))], "p", 1)])


def test_a_batch_is_judged_without_unpacking_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = compact_payload([Batch([json_entry("t", "word")] * 100, "p", 1)])
    monkeypatch.setattr(compact.zlib, "decompressobj", None)
    fold = Fold()
    [judged] = Intake(fold).take(payload)
    assert isinstance(judged.entries, PackedEntries)
    assert (fold.head, len(judged.entries), judged.entries.topics) == (100, 100, {"t"})
    text = len(batch_payload([entry_json(*json_entry("t", "word"))] * 100, "p", 1).data)
    assert 0.8 < judged.size / text < 1.2


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

    monkeypatch.setattr(compact.zlib, "decompressobj", Noting)
    bomb = message(1, b"\x00" * 50_000_000, size=100, packed=True)
    [batch] = parse_compact(bomb) or []
    assert list(batch.entries) == [("t", "")]
    assert asked == [101]


def test_each_batch_of_a_message_is_judged_by_itself() -> None:
    old, new = (f"wfs1/{RUN}/{scheduled}/1/n/1" for scheduled in (1, 2))
    payload = compact_payload(
        [
            Batch([json_entry("t", 0)], "p", 1),
            Batch([json_entry("t", 1), json_entry("u", 2)], new, 1),
            Batch([json_entry("t", 3)], "p", 1),
            Batch([json_entry("t", 4)], old, 1),
            Batch([json_entry("t", 5)], "p", 2),
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


@given(st.lists(numbers, max_size=20))
def test_numbers_and_columns_have_one_form(written: list[int]) -> None:
    reader = Reader(b"".join(map(number_bytes, written)))
    assert reader.numbers(len(written)) == written
    assert reader.rest() == b""
    small = [number % 3 for number in written]
    assert Reader(column_bytes(small)).column(len(small), 3) == small


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
    payload = Payload(metadata={"encoding": ENCODING}, data=bytes.fromhex(example["bytes"]))
    read = parse_compact(payload)
    if example["batches"] is None:
        assert read is None
        return
    assert read is not None
    assert [as_json(batch) for batch in read] == example["batches"]
    if not example["compressed"]:
        assert compact_payload(read).data == payload.data


def as_json(batch: Batch) -> dict[str, Any]:
    """Return a batch as it is in the JSON form."""
    found: dict[str, Any] = {
        "items": [{"topic": topic, "data": data} for topic, data in batch.entries],
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
