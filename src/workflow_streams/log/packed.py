"""Items in columns, which may be compressed: topics, kinds, sizes, and then all data. Pure.

What many items have in common, their topic and the kind of their payload, is written once. They
are packed and unpacked by steps that each handle a whole column, since there may be many.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby, islice, pairwise, repeat
from typing import Generic, TypeVar, overload

from .binary import MalformedError, Reader, block, number_bytes, text_bytes
from .payloads import JSON_KIND, UNREADABLE_KIND
from .wire import Entry

T = TypeVar("T", bound=Hashable)

_AS_IS, _ZLIB = 0, 1
_JSON, _OTHER = 0, 1

_LEVEL = 1
# Compressing less takes time and saves nothing.
_LEAST_COMPRESSED = 64
# A larger body is compressed only if its middle shows that this pays: random bytes take the
# packer longer than anything else that is done with them.
_TRIED_BYTES = 4 * 1024
_LEAST_TRIED = 8 * _TRIED_BYTES
_PAYS = 0.95
# Beside an item's data and kind, as text: the tag and length of the data, and what is around it.
_AROUND = 24
_AT_ONCE = 8_192
# How large the bodies are into which a larger one is cut.
_CUT_ITEMS = 1_024
_CUT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a message may hold.

    Attributes:
        items: How many items it has at most, all its batches together.
        body_bytes: How large the columns may be, unpacked; and as much may be added by topics and
            kinds, which are written once and told with each item.
    """

    items: int
    body_bytes: int

    def hold(self, body: Body) -> bool:
        """Whether a message may have this body."""
        most = max(body.size, body.told_bytes)
        return body.count <= self.items and most <= self.body_bytes


@dataclass(frozen=True)
class Body:
    """The items of all batches of a message, as they are written.

    Attributes:
        how: Whether it is compressed.
        size: How large it is, unpacked.
        packed: The columns.
        count: How many items it has.
        topics: Their topics.
        kinds: The kinds of their payloads.
    """

    how: int
    size: int
    packed: bytes
    count: int
    topics: tuple[str, ...]
    kinds: tuple[bytes, ...]

    @cached_property
    def topic_set(self) -> frozenset[str]:
        """The topics."""
        return frozenset(self.topics)

    @cached_property
    def told_bytes(self) -> int:
        """How many bytes the topics and kinds of all items take at most where each is told."""
        topic = max(map(_utf8_length, self.topics), default=0)
        return self.count * (topic + max(map(len, self.kinds), default=0))

    @cached_property
    def around_bytes(self) -> tuple[int, int]:
        """How long topics and kinds are on average."""
        topics, kinds = self.topics, self.kinds
        return (
            sum(map(len, topics)) // max(1, len(topics)),
            sum(map(len, kinds)) // max(1, len(kinds)),
        )

    @cached_property
    def _cut(self) -> tuple[int, list[Body]]:
        """Small bodies with the same items, and how many items each of them has but for the last.

        All items at once would take a second where many workflows share a processor, most of it
        for the garbage collector.
        """
        each = max(1, min(_CUT_ITEMS, _CUT_BYTES * self.count // max(1, self.size)))
        if each >= self.count:
            return each, [self]
        try:
            columns = self._columns(self._unpacked())
        except MalformedError:
            columns = self._nothing()
        bodies = list[Body]()
        while some := list(islice(columns, each)):
            bodies.append(pack(some).body)
        return each, bodies

    @property
    def kept_bytes(self) -> int:
        """About how many bytes it takes in memory, packed."""
        _, bodies = self.__dict__.get("_cut", (0, [self]))
        return len(self.packed) + sum(len(body.packed) for body in bodies if body is not self)

    def entries_at(self, at: int, end: int) -> Iterator[Entry]:
        """Yield the items from one on, up to another; little more than these is unpacked.

        For that, a large body is cut into small ones when it is first looked at.
        """
        each, bodies = self._cut
        while at < end:
            number, skip = divmod(at, each)
            some = bodies[number].entries()[skip : skip + end - at]
            yield from some
            at += len(some)

    def entries(self) -> list[Entry]:
        """Unpack it. Items of a malformed body keep their offsets, but hold nothing."""
        try:
            return list(self._columns(self._unpacked()))
        except MalformedError:
            return list(self._nothing())

    def _nothing(self) -> Iterator[Entry]:
        return ((self.topics[0], UNREADABLE_KIND, b"") for _ in range(self.count))

    def written(self) -> Iterator[bytes]:
        """Write it, for :func:`read_body`."""
        yield number_bytes(len(self.topics))
        yield from map(text_bytes, self.topics)
        yield number_bytes(len(self.kinds))
        yield from map(_kind_bytes, self.kinds)
        yield bytes([self.how])
        yield number_bytes(self.size)
        yield self.packed

    def _unpacked(self) -> bytes:
        body = self.packed
        if self.how == _ZLIB:
            inflater = zlib.decompressobj()
            try:
                body = inflater.decompress(body, self.size + 1)
            except zlib.error:
                raise MalformedError from None
            if not inflater.eof or inflater.unused_data:
                raise MalformedError
        if len(body) != self.size:
            raise MalformedError
        return body

    def _columns(self, body: bytes) -> Iterator[Entry]:
        """Read the columns; the items are made as they are taken."""
        reader = Reader(body)
        topics = _read_column(reader, self.count, self.topics)
        kinds = _read_column(reader, self.count, self.kinds)
        sizes = reader.numbers(self.count)
        start = reader.at
        if start + sum(sizes) != len(body):
            raise MalformedError
        ends = accumulate(sizes, initial=start)
        datas = (body[at:end] for at, end in pairwise(ends))
        return zip(topics, kinds, datas, strict=False)


class PackedEntries(Sequence[Entry]):
    """The items of a batch, which are unpacked each time that they are looked at."""

    __slots__ = ("_end", "_start", "body")

    def __init__(self, body: Body, start: int, end: int) -> None:
        """Begin and end at these items of a message."""
        self.body = body
        self._start = start
        self._end = end

    def __len__(self) -> int:
        """How many they are; nothing is unpacked for that."""
        return self._end - self._start

    @property
    def are_all(self) -> bool:
        """Whether the body holds no other items."""
        return len(self) == self.body.count

    @property
    def topics(self) -> frozenset[str]:
        """The topics that they may have; nothing is unpacked for that."""
        return self.body.topic_set

    @property
    def data_bytes(self) -> int:
        """About how many bytes their data takes unpacked; nothing is unpacked for that."""
        return self.body.size * len(self) // max(1, self.body.count)

    @property
    def held_bytes(self) -> int:
        """About how many bytes they hold in memory unpacked, beside what each of them takes."""
        body = self.body
        topic, kind = body.around_bytes
        common = topic * len(body.topics) + kind * len(body.kinds)
        return (body.size + common) * len(self) // max(1, body.count)

    @property
    def text_bytes(self) -> int:
        """About how many bytes they take in JSON; nothing is unpacked for that."""
        topic, kind = self.body.around_bytes
        return (self.data_bytes + (kind + _AROUND) * len(self)) * 4 // 3 + topic * len(self)

    @property
    def packed_bytes(self) -> int:
        """How many bytes they take in memory, packed, with the other batches of the message."""
        return self.body.kept_bytes

    def within(self, entries: list[Entry]) -> list[Entry]:
        """Return them out of all the items of the body, which have been unpacked."""
        return entries[self._start : self._end]

    def entries_from(self, skip: int) -> Iterator[Entry]:
        """Yield them from an index on; little more is unpacked than is taken."""
        return self.body.entries_at(self._start + skip, self._end)

    @property
    def digest(self) -> str:
        """What tells them from others, however they are packed: a SHA-256, in hexadecimal."""
        digest = hashlib.sha256()
        for topic, kind, data in self.unpacked():
            for part in (topic.encode(errors="surrogatepass"), kind, data):
                digest.update(b"%d:" % len(part))
                digest.update(part)
        return digest.hexdigest()

    def unpacked(self) -> list[Entry]:
        """Return them as a list."""
        return self.body.entries() if self.are_all else list(self.entries_from(0))

    def __iter__(self) -> Iterator[Entry]:
        """Unpack them."""
        return iter(self.unpacked())

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        """Unpack them."""
        return self.unpacked()[index]

    def __eq__(self, other: object) -> bool:
        """Whether the items are the same."""
        return isinstance(other, Sequence) and self.unpacked() == list(other)

    __hash__ = None  # type: ignore[assignment]


class Packer:
    """Packs items as they come, so that they need not all be in memory.

    Attributes:
        count: How many there are so far.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self.count = 0
        self._topics = _Column[str]()
        self._kinds = _Column[bytes]()
        self._sizes: list[bytes] = []
        self._datas: list[bytes] = []

    def add(self, entries: Sequence[Entry]) -> None:
        """Add some items, which come at once."""
        if not entries:
            return
        topics, kinds, datas = zip(*entries, strict=True)
        self.count += len(entries)
        self._topics.add(topics)
        self._kinds.add(kinds)
        sizes = list(map(len, datas))
        small = max(sizes) < 0x80
        self._sizes.append(bytes(sizes) if small else b"".join(map(number_bytes, sizes)))
        self._datas.append(b"".join(datas))

    def packed(self) -> PackedEntries:
        """Return all of them."""
        columns = (self._topics.written(), self._kinds.written())
        unpacked = b"".join((*columns, *self._sizes, *self._datas))
        how, packed = _packed(unpacked)
        topics, kinds = tuple(self._topics.values), tuple(self._kinds.values)
        body = Body(how, len(unpacked), packed, self.count, topics, kinds)
        return PackedEntries(body, 0, self.count)


def read_body(reader: Reader, count: int, bounds: Bounds) -> Body:
    """Read a body of so many items, which goes on to the end.

    Raises:
        MalformedError: It is none, or over the bounds.
    """
    if count > bounds.items:
        raise MalformedError  # before as many topics are read
    topics = tuple(reader.text() for _ in range(reader.number(count)))
    kinds = tuple(_read_kind(reader) for _ in range(reader.number(count)))
    how, size = reader.byte(), reader.number()
    if how not in (_AS_IS, _ZLIB) or count > size or (count and not (topics and kinds)):
        raise MalformedError
    body = Body(how, size, reader.rest(), count, topics, kinds)
    if not bounds.hold(body):
        raise MalformedError
    return body


def pack(entries: Iterable[Entry]) -> PackedEntries:
    """Pack items."""
    packer = Packer()
    rest = iter(entries)
    while some := list(islice(rest, _AT_ONCE)):
        packer.add(some)
    return packer.packed()


def _kind_bytes(kind: bytes) -> bytes:
    """Write the kind of a payload; nearly all are plain JSON."""
    return bytes([_JSON]) if kind == JSON_KIND else bytes([_OTHER]) + block(kind)


def _read_kind(reader: Reader) -> bytes:
    what = reader.byte()
    if what == _OTHER:
        return reader.block()
    if what != _JSON:
        raise MalformedError
    return JSON_KIND


class _Column(Generic[T]):
    """Which of several values each item has: each once for all that come in a row.

    Attributes:
        values: The values with their numbers, in the order in which they were met first.
    """

    def __init__(self) -> None:
        self.values: dict[T, int] = {}
        self._runs: list[tuple[int, int]] = []

    def add(self, values: Sequence[T]) -> None:
        """Add the values of some more items."""
        first = values[0]
        if values.count(first) == len(values):
            self._add(first, len(values))
            return
        for value, same in groupby(values):
            self._add(value, sum(1 for _ in same))

    def _add(self, value: T, times: int) -> None:
        number = self.values.setdefault(value, len(self.values))
        if self._runs and self._runs[-1][0] == number:
            times += self._runs.pop()[1]
        self._runs.append((number, times))

    def written(self) -> bytes:
        """Write it; with only one value there is nothing to write."""
        if len(self.values) <= 1:
            return b""
        return b"".join(number_bytes(number) + number_bytes(times) for number, times in self._runs)


def _read_column(reader: Reader, count: int, values: Sequence[T]) -> Iterable[T]:
    """Read which of these values each item has."""
    if len(values) <= 1:
        return repeat(values[0], count) if values else ()
    return map(values.__getitem__, reader.column(count, len(values)))


def _packed(body: bytes) -> tuple[int, bytes]:
    """Return how the columns are packed, and packed."""
    if len(body) >= _LEAST_COMPRESSED and _may_pay(body):
        packed = zlib.compress(body, _LEVEL)
        if len(packed) < len(body):
            return _ZLIB, packed
    return _AS_IS, body


def _utf8_length(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _may_pay(body: bytes) -> bool:
    if len(body) < _LEAST_TRIED:
        return True
    middle = len(body) // 2
    tried = zlib.compress(body[middle : middle + _TRIED_BYTES], _LEVEL)
    return len(tried) < _TRIED_BYTES * _PAYS
