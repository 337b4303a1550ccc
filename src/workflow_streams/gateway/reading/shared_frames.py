"""Keeps encoded events, so that they are made once for all viewers that get the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from ...log.wire import Entry
from ...read.moments import entries_size

MAX_BYTES = 16 * 1024 * 1024

# The memory that a frame takes besides its bytes.
_FRAME_BYTES = 500


@dataclass(frozen=True, slots=True)
class Frame:
    """Encoded events, and how many items they carry."""

    data: bytes
    items: int


@dataclass(slots=True)
class _Shared:
    """Items, and the frames made of them: one for each kind of viewer."""

    entries: list[Entry]
    size: int
    frames: dict[Hashable, Frame] = field(default_factory=dict[Hashable, Frame])


class SharedFrames:
    """The newest encoded events, found by the entries that they carry, bounded in bytes.

    Viewers that are level with the stream get the very same list of entries from its feed. So the
    list's identity shows that one event serves all of them. That an event is empty for certain
    viewers is shared as well.

    Attributes:
        size: Roughly how many bytes are held: frames, and the entries that they were made of.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        """Keep up to ``max_bytes``, 16 MiB by default; always keep at least the newest frame."""
        self._max_bytes = MAX_BYTES if max_bytes is None else max_bytes
        self.size = 0
        # Keep the entries, too: otherwise another list might get the same id.
        self._shared: OrderedDict[int, _Shared] = OrderedDict()

    def __len__(self) -> int:
        """Return for how many lists of entries there are frames."""
        return len(self._shared)

    def get(self, entries: list[Entry], kind: Hashable, make: Callable[[], Frame]) -> Frame:
        """Return the frame of these entries; call ``make`` if there is none of this kind yet.

        Args:
            entries: What the frame carries: the very list that the feed holds.
            kind: Everything else that the frame depends on.
            make: Makes the frame.
        """
        known = self.find(entries, kind)
        if known is None:
            known = make()
            self.keep(entries, kind, known)
        return known

    def find(self, entries: list[Entry], kind: Hashable) -> Frame | None:
        """Return the frame of these entries, if there is one of this kind."""
        shared = self._shared.get(id(entries))
        return None if shared is None else shared.frames.get(kind)

    def keep(self, entries: list[Entry], kind: Hashable, frame: Frame) -> None:
        """Keep a frame that :meth:`find` has not found."""
        shared = self._shared.get(id(entries))
        if shared is None:
            shared = self._shared[id(entries)] = _Shared(entries, 0)
            self._add(shared, entries_size(entries))
        shared.frames[kind] = frame
        self._add(shared, _frame_size(kind, frame))
        while self.size > self._max_bytes and self._drop():
            pass

    def _drop(self) -> bool:
        """Drop the oldest; return false if only the newest frame is left."""
        oldest = next(iter(self._shared.values()))
        if len(self._shared) > 1:
            del self._shared[id(oldest.entries)]
            self.size -= oldest.size
        elif len(oldest.frames) > 1:
            kind = next(iter(oldest.frames))
            self._add(oldest, -_frame_size(kind, oldest.frames.pop(kind)))
        else:
            return False
        return True

    def _add(self, shared: _Shared, size: int) -> None:
        shared.size += size
        self.size += size


def _frame_size(kind: Hashable, frame: Frame) -> int:
    return _FRAME_BYTES + len(frame.data) + _kind_size(kind)


def _kind_size(kind: Hashable) -> int:
    """Return how many bytes the topics take by which frames differ; a client may name many."""
    if isinstance(kind, tuple | frozenset):
        return sum(_kind_size(part) + _FRAME_BYTES // 5 for part in kind)
    return len(kind) if isinstance(kind, str) else 0
