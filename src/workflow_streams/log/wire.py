"""Names and shapes of everything that crosses a process boundary.

Publish, poll and state messages are those of ``temporalio.contrib.workflow_streams`` and its
siblings; the memo records (:class:`Record`) are this package's own. Item data is padded base64
of a serialised ``Payload``; the payload codec runs once, on the envelope, never per item.
"""

# No `from __future__ import annotations`: payload converters look the types up by the module's
# name, which the sandbox does not know when the package was passed through.
import binascii
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from google.protobuf.message import DecodeError as ProtobufDecodeError
from temporalio.api.common.v1 import Payload

from .ranges import packed, unpacked

PUBLISH_SIGNAL = "__temporal_workflow_stream_publish"
POLL = "__temporal_workflow_stream_poll"
OFFSET_QUERY = "__temporal_workflow_stream_offset"

STREAM_DRAINING = "StreamDraining"
TRUNCATED_OFFSET = "TruncatedOffset"
TRUNCATE_OUT_OF_RANGE = "TruncateOutOfRange"

MEMO_KEY = "__temporal_workflow_stream_record"
PATCH_ID = "workflow-streams-history"
"""``workflow.patched`` id; also what ``TemporalChangeVersion`` finds all streams by."""

RECORD_VERSION = 1

# The server's limit for all payloads of a signal together (limit.blobSize.error).
MAX_SIGNAL_BYTES = 2 * 1024 * 1024
# The server fails a command or signal whose payload exceeds 2 MiB (limit.blobSize.error).
# The margin leaves room for the envelope and for what an encryption codec adds.
MAX_ITEM_BYTES = 2 * 1024 * 1024 - 64 * 1024
# The SDK warns about payloads over 512 KiB; the same margin for codecs.
MAX_BATCH_BYTES = 448 * 1024
MAX_POLL_BYTES = 1_000_000

# Size of a fragment's text. In the fragment's own JSON only the quotes of that text are escaped,
# which makes it a few percent longer.
FRAGMENT_CHARACTERS = 1_250_000
# How deep the JSON of a batch or record may nest. Python parses some 900 levels, and fewer the
# deeper its own stack already is.
_MOST_NESTING = 32
_ENTRY_BYTES = len('{"topic":,"data":""},')
# Digits of an integer. Python parses 4,300 unless set otherwise, and never fewer than 640.
_MOST_DIGITS = 100

MAX_FRAGMENTS = 64
MAX_ID_CHARACTERS = 512
"""The longest publisher id or ordering key, since a run hands these on to the next."""

MOST_TOPICS = 1024
USUAL_TOPIC = 256
"""How many topics are cached with the length of their JSON, and how many characters those have."""

Entry = tuple[str, str]
"""Topic and base64 data of one item."""


@dataclass
class PublishEntry:
    """One item of a publish signal; ``data`` is base64 of a serialised Payload."""

    topic: str
    data: str


@dataclass
class PublishInput:
    """Argument of the publish signal: a batch, taken whole or not at all.

    Batches of one ``publisher_id`` are numbered by ``sequence`` from 1; an empty id turns
    deduplication off.
    """

    items: list[PublishEntry] = field(default_factory=list[PublishEntry])
    publisher_id: str = ""
    sequence: int = 0


@dataclass
class PollInput:
    """Argument of the poll Update (waits) and Query (does not). No topics means all."""

    topics: list[str] = field(default_factory=list[str])
    from_offset: int = 0


@dataclass
class WireItem:
    """One item of a poll result or of a state snapshot."""

    topic: str
    data: str
    offset: int = 0


@dataclass
class PollResult:
    """A page of items. ``next_offset`` is where the next poll starts."""

    items: list[WireItem] = field(default_factory=list[WireItem])
    next_offset: int = 0
    more_ready: bool = False


@dataclass
class PublisherState:
    """Deduplication state of one publisher: its last batch and when that came."""

    sequence: int
    last_seen: datetime


@dataclass
class RunRef:
    """An earlier run of the stream's workflow and the first offset it wrote."""

    run_id: str
    first_offset: int


@dataclass
class WorkflowStreamState:
    """Snapshot of a stream that continue-as-new carries to the next run.

    Type the carrying field ``WorkflowStreamState | None``, never ``Any``: an untyped field
    arrives as a plain dict.

    ``log`` ends at ``head``, which is also ``base_offset``, since it is empty; ``base`` is the
    lowest retained offset. ``tail`` holds the last items before ``head`` for clients that poll,
    as the JSON text of a list of topics and data; empty if none has polled in the last runs, which
    ``unpolled_runs`` counts. ``written`` and ``closed`` are those of :class:`Opening`, as JSON
    text. ``head`` and ``base`` are ``None`` in snapshots taken by the contrib, whose ``log`` starts
    at ``base_offset`` and is the whole retained stream.
    """

    log: list[WireItem] = field(default_factory=list[WireItem])
    base_offset: int = 0
    publishers: dict[str, PublisherState] = field(default_factory=dict[str, PublisherState])
    head: int | None = None
    runs: list[RunRef] = field(default_factory=list[RunRef])
    base: int | None = None
    order: str = ""
    malformed: int = 0
    tail: str = ""
    unpolled_runs: int = 0
    written: str = ""
    closed: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """A publish signal, checked.

    Attributes:
        entries: Topic and data of its items.
        publisher_id: Identifies the publisher; empty turns deduplication off.
        sequence: Number of the batch among the publisher's, from 1.
        tag: Lets the sender recognize the batch in the history; empty if it need not.
        close: Whether the batch closes the stream, where the stream lets batches do that.
        order: Key that has to rise from batch to batch; None if the writer gives none.
    """

    entries: list[Entry]
    publisher_id: str
    sequence: int
    tag: str = ""
    close: bool = False
    order: str | None = None


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a batch that is too large for one signal.

    The JSON text of the batch is cut into ``count`` pieces, of which ``text`` is the one at ``index``.
    All fragments of the batch carry its ``tag``.
    """

    tag: str
    index: int
    count: int
    text: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What a stream that is written over HTTP requires of its writers.

    Attributes:
        content_type: Media type of everything in it.
        closable: Whether a batch may close it.
    """

    content_type: str
    closable: bool = True


@dataclass(frozen=True, slots=True)
class Closing:
    """The batch that closed a stream, and the run in which it did."""

    publisher_id: str
    sequence: int
    run_id: str


@dataclass(frozen=True, slots=True)
class Opening:
    """First record of a run: the fold as the run found it, and where earlier runs are.

    ``written`` is what the newest attempts wrote in earlier runs, by source: activities of other
    workflows, and other workflows, whose retry takes it back. ``closed`` is what closed the stream
    in an earlier run; None if it is open.
    """

    head: int
    base: int
    publishers: dict[str, int]
    runs: list[RunRef]
    keep_last: int | None = None
    rules: Rules | None = None
    order: str = ""
    written: dict[str, list[range]] = field(default_factory=dict[str, list[range]])
    closed: Closing | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One memo record: own publishes, a truncation, or the opening of a run.

    ``base`` is the stream's base offset after the record, so that the last one, readable in
    the workflow's memo, tells a reader where the retained stream begins.
    """

    base: int
    entries: list[Entry] = field(default_factory=list[Entry])
    opening: Opening | None = None
    ring: bool = False
    """Whether a ring buffer moves the base further on with each item after this record."""


def encode_payload(payload: Payload) -> str:
    """Return the wire form of one item's payload."""
    return encode_serialised(payload.SerializeToString())


def encode_serialised(payload: bytes) -> str:
    """Return the wire form of one item's payload, given as serialised bytes."""
    return binascii.b2a_base64(payload, newline=False).decode("ascii")


def decode_serialised(data: str) -> bytes:
    """Invert :func:`encode_serialised`; raise ValueError on what is no base64."""
    return binascii.a2b_base64(data, strict_mode=True)


def decode_payload(data: str) -> Payload:
    """Invert :func:`encode_payload`; raise ValueError on what is no payload."""
    try:
        return Payload.FromString(decode_serialised(data))
    except (ValueError, ProtobufDecodeError) as err:
        raise ValueError(f"not a serialised payload: {err}") from err


def json_payload(data: bytes) -> Payload:
    """Wrap JSON bytes the way every default payload converter reads them."""
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


def entry_json(topic: str, data: str) -> str:
    """Return one batch entry as JSON text; base64 needs no escaping."""
    return f'{{"topic":{json.dumps(topic)},"data":"{data}"}}'


def batch_payload(
    entries: Iterable[str],
    publisher_id: str,
    sequence: int,
    *,
    tag: str = "",
    close: bool = False,
    order: str | None = None,
) -> Payload:
    """Build the publish signal's argument from entries in JSON text; see :class:`Batch`."""
    joined = ",".join(entries)
    more = ""
    if tag:
        more += f',"tag":{json.dumps(tag)}'
    if close:
        more += ',"close":true'
    if order is not None:
        more += f',"order":{json.dumps(order)}'
    text = (
        f'{{"items":[{joined}],"publisher_id":{json.dumps(publisher_id)}'
        f',"sequence":{sequence}{more}}}'
    )
    return json_payload(text.encode())


def fragment_payloads(batch: Payload, tag: str) -> list[Payload]:
    """Cut a batch that is over the limit of one signal into fragments; see :class:`Fragment`."""
    text = batch.data.decode()
    pieces = [text[i : i + FRAGMENT_CHARACTERS] for i in range(0, len(text), FRAGMENT_CHARACTERS)]
    return [
        json_payload(json.dumps({"tag": tag, "part": [index, len(pieces)], "text": piece}).encode())
        for index, piece in enumerate(pieces)
    ]


def parse_batch(payload: Payload) -> Batch | Fragment | None:
    """Check a publish signal's argument; None if it is malformed.

    Workflow and readers both call this, so that they ignore the same signals.
    """
    message = _load(payload)
    if not isinstance(message, dict):
        return None
    if "part" in message:
        return _fragment(message)
    publisher_id = message.get("publisher_id", "")
    sequence = message.get("sequence", 0)
    entries = _entries(message.get("items", []))
    tag, order = message.get("tag", ""), message.get("order")
    if not isinstance(publisher_id, str) or type(sequence) is not int or entries is None:
        return None
    if not isinstance(tag, str) or not (order is None or isinstance(order, str)):
        return None
    if not (_is_kept(publisher_id) and _is_kept(order or "")):
        return None
    return Batch(entries, publisher_id, sequence, tag, message.get("close") is True, order)


def _is_kept(name: str) -> bool:
    """Whether a state can hold a name: some converters cannot write lone surrogates as JSON."""
    if len(name) > MAX_ID_CHARACTERS:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fragment(message: dict[str, Any]) -> Fragment | None:
    match message:
        case {"part": [int(index), int(count)], "tag": str(tag), "text": str(text)} if (
            0 <= index < count <= MAX_FRAGMENTS
        ):
            return Fragment(tag, index, count, text)
        case _:
            return None


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
    """Return what :func:`entry_bytes` says of all of them; there may be a million."""
    if not entries:
        return 0
    # In JSON, a list takes two characters for each item beside the item's own.
    topics = len(json.dumps([topic for topic, _ in entries]))
    return topics + sum([len(data) for _, data in entries]) + (_ENTRY_BYTES - 2) * len(entries)


def batches_of(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Cut items so that each part holds as many as fit into a batch or record, or one."""
    start = size = 0
    for index, (topic, data) in enumerate(entries):
        length = entry_bytes(topic, data)
        if index > start and size + length > MAX_BATCH_BYTES:
            yield entries[start:index]
            start, size = index, 0
        size += length
    if start < len(entries):
        yield entries[start:]


def record_payload(record: Record) -> Payload:
    """Encode a memo record."""
    message: dict[str, Any] = {"v": RECORD_VERSION, "base": record.base}
    if record.ring:
        message["ring"] = True
    if record.entries:
        message["items"] = [{"topic": t, "data": d} for t, d in record.entries]
    if record.opening is not None:
        opening = record.opening
        message["open"] = {
            "head": opening.head,
            "publishers": opening.publishers,
            "runs": [[r.run_id, r.first_offset] for r in opening.runs],
        }
        if opening.keep_last is not None:
            message["open"]["keep_last"] = opening.keep_last
        if opening.rules is not None:
            rules = opening.rules
            message["open"]["rules"] = {"type": rules.content_type, "closable": rules.closable}
        if opening.order:
            message["open"]["order"] = opening.order
        if opening.written:
            message["open"]["written"] = {k: packed(v) for k, v in opening.written.items()}
        if opening.closed is not None:
            message["open"]["closed"] = closing_fields(opening.closed)
    return json_payload(json.dumps(message, separators=(",", ":")).encode())


def parse_record(payload: Payload) -> Record | None:
    """Invert :func:`record_payload`; None if the memo field is not one of ours."""
    message = _load(payload)
    if not isinstance(message, dict) or message.get("v") != RECORD_VERSION:
        return None
    base = message.get("base")
    entries = _entries(message.get("items", []))
    if type(base) is not int or entries is None:
        return None
    ring = message.get("ring") is True
    if "open" not in message:
        return Record(base, entries, None, ring)
    opening = _opening(message["open"], base)
    return None if opening is None else Record(base, entries, opening, ring)


def _opening(message: Any, base: int) -> Opening | None:
    if not isinstance(message, dict):
        return None
    head, keep_last = message.get("head"), message.get("keep_last")
    publishers, order = message.get("publishers"), message.get("order", "")
    runs, rules = _runs(message.get("runs")), _rules(message.get("rules"))
    written = written_in(message.get("written", {}))
    if type(head) is not int or not (keep_last is None or type(keep_last) is int):
        return None
    if not isinstance(publishers, dict) or runs is None or not isinstance(order, str):
        return None
    if written is None or not all(type(sequence) is int for sequence in publishers.values()):
        return None
    closed = message.get("closed")
    closing = None if closed is None else closing_in(closed)
    if closed is not None and closing is None:
        return None
    return Opening(head, base, publishers, runs, keep_last, rules, order, written, closing)


def closing_fields(closing: Closing) -> list[Any]:
    """Return what closed a stream, as a record has it."""
    return [closing.publisher_id, closing.sequence, closing.run_id]


def closing_in(message: Any) -> Closing | None:
    """Invert :func:`closing_fields`; None if it is none."""
    match message:
        case [str(publisher_id), int(sequence), str(run_id)] if type(sequence) is int:
            return Closing(publisher_id, sequence, run_id)
        case _:
            return None


def written_in(message: Any) -> dict[str, list[range]] | None:
    """Return what attempts wrote by source, from its packed form; None if it is none."""
    if not isinstance(message, dict):
        return None
    ranges = {source: unpacked(numbers) for source, numbers in message.items()}
    known = {source: parts for source, parts in ranges.items() if parts is not None}
    return known if len(known) == len(ranges) else None


def _runs(message: Any) -> list[RunRef] | None:
    if not isinstance(message, list):
        return None
    refs: list[RunRef] = []
    for run in message:
        match run:
            case [str(run_id), int(first)] if type(first) is int:
                refs.append(RunRef(run_id, first))
            case _:
                return None
    return refs


def _rules(message: Any) -> Rules | None:
    match message:
        case {"type": str(content_type), "closable": bool(closable)}:
            return Rules(content_type, closable)
        case _:
            return None


def _load(payload: Payload) -> Any:
    """Return the JSON value in a payload; None if there is none, or it is not plain enough.

    Workflow and readers have to come to the same result. So nothing is left to what differs
    between processes: how deep the stack is already, how many digits of a number the Python
    version takes.
    """
    if payload.metadata.get("encoding") != b"json/plain":
        return None
    try:
        value = _decoder.decode(_text(payload.data))
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and "part" not in value and _are_pairs(value.get("items")):
        # The items, which are nearly all of a batch, need no look: they are entries, in which
        # nothing nests, or the batch is malformed in any case.
        return value if _is_shallow({**value, "items": None}) else None
    return value if _is_shallow(value) else None


def _are_pairs(items: Any) -> bool:
    """Whether these are objects of two fields each."""
    return (
        isinstance(items, list) and set(map(type, items)) == {dict} and set(map(len, items)) == {2}
    )


def _text(data: bytes) -> str:
    # Like json.loads, except for UTF-16 and UTF-32, which no converter writes.
    return data.decode("utf-8", "surrogatepass")


def _number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError("a number of too many digits")
    return int(digits)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_int=_number, parse_constant=_no_number)


def _is_shallow(value: Any) -> bool:
    """Whether arrays and objects nest no deeper than allowed."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_MOST_NESTING):
        if not level:
            return True
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return not level


def _entries(items: Any) -> list[Entry] | None:
    if not isinstance(items, list):
        return None
    try:
        entries = [(item["topic"], item["data"]) for item in items]
    except (TypeError, KeyError):
        return None
    return entries if {type(part) for part in chain.from_iterable(entries)} <= {str} else None
