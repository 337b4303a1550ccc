"""Events that are made once and sent to every viewer who is to get the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from ...log.wire import Entry
from ...read.moments import entries_size

MAX_BYTES = 16 * 1024 * 1024

# What a frame takes in memory beside its bytes.
_FRAME_BYTES = 500


@dataclass(frozen=True, slots=True)
class Frame:
    """Encoded events, and how many items they carry."""

    data: bytes
    items: int


@dataclass(slots=True)
class _Shared:
    """Items, and the frames that have been made of them: one for each kind of viewer."""

    entries: list[Entry]
    size: int
    frames: dict[Hashable, Frame] = field(default_factory=dict[Hashable, Frame])


class SharedFrames:
    """Encoded events by the entries that they carry, the newest of them, bounded in bytes.

    Viewers that are level with the stream get the very same list of entries from its feed, so
    its identity tells that one event serves them all. Viewers who get nothing of it share that
    as well.

    Attributes:
        size: Bytes that it holds, roughly: frames, and the entries that they were made of.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        """Keep up to ``max_bytes``, 16 MiB by default, or else the newest frame alone."""
        self._max_bytes = MAX_BYTES if max_bytes is None else max_bytes
        self.size = 0
        # The entries are kept, too: else another list might get the same id.
        self._shared: OrderedDict[int, _Shared] = OrderedDict()

    def __len__(self) -> int:
        """Of how many lists of entries it holds frames."""
        return len(self._shared)

    def get(self, entries: list[Entry], kind: Hashable, make: Callable[[], Frame]) -> Frame:
        """Return the frame of these entries, made by ``make`` if it is the first of its kind.

        Args:
            entries: What it carries, as the feed has it.
            kind: All else that it depends on.
            make: Makes it.
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
        """Share a frame that :meth:`find` has not found."""
        shared = self._shared.get(id(entries))
        if shared is None:
            shared = self._shared[id(entries)] = _Shared(entries, 0)
            self._add(shared, entries_size(entries))
        shared.frames[kind] = frame
        self._add(shared, _frame_size(frame))
        while self.size > self._max_bytes and self._drop():
            pass

    def _drop(self) -> bool:
        """Give up what is oldest; false if there is only what was made last."""
        oldest = next(iter(self._shared.values()))
        if len(self._shared) > 1:
            del self._shared[id(oldest.entries)]
            self.size -= oldest.size
        elif len(oldest.frames) > 1:
            self._add(oldest, -_frame_size(oldest.frames.pop(next(iter(oldest.frames)))))
        else:
            return False
        return True

    def _add(self, shared: _Shared, size: int) -> None:
        shared.size += size
        self.size += size


def _frame_size(frame: Frame) -> int:
    return _FRAME_BYTES + len(frame.data)
