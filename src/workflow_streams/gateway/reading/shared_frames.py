"""Events that are made once and sent to every viewer who is to get the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from ...wire import Entry

MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Frame:
    """Encoded events, and how many items they carry."""

    data: bytes
    items: int


class SharedFrames:
    """Encoded events by the entries that they carry, the newest of them, bounded in bytes.

    Viewers that are level with the stream get the very same list of entries from its feed, so
    its identity tells that one event serves them all.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """Keep up to ``max_bytes`` of events."""
        self._max_bytes = max_bytes
        self._bytes = 0
        # The entries are kept, too: else another list might get the same id.
        self._frames: OrderedDict[tuple[int, Hashable], tuple[list[Entry], Frame]] = OrderedDict()

    def get(self, entries: list[Entry], kind: Hashable, make: Callable[[], Frame]) -> Frame:
        """Return the frame of these entries, made by ``make`` if it is the first of its kind.

        Args:
            entries: What it carries, as the feed has it.
            kind: All else that it depends on.
            make: Makes it.
        """
        key = (id(entries), kind)
        known = self._frames.get(key)
        if known is not None:
            return known[1]
        frame = make()
        self._frames[key] = (entries, frame)
        self._bytes += len(frame.data)
        while self._bytes > self._max_bytes and len(self._frames) > 1:
            _, (_, old) = self._frames.popitem(last=False)
            self._bytes -= len(old.data)
        return frame
