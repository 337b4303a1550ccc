"""The newest moments of a stream, bounded in bytes. Pure."""

from __future__ import annotations

from collections import deque

from ..moments import BEFORE_ALL, Moment, Place


class Ring:
    """Moments by an index that counts on, however many have been dropped.

    Attributes:
        start: Index of the oldest moment.
        size: Bytes that the moments hold, roughly.
        floor: Offset from which all items are here; None before the stream has opened.
    """

    def __init__(self) -> None:
        """Start empty, at index 0."""
        self.start = 0
        self.size = 0
        self.floor: int | None = None
        self._join_index = 0
        self._moments: deque[Moment] = deque()
        self._dropped: tuple[str, Place] | None = None

    def __len__(self) -> int:
        """How many moments there are."""
        return len(self._moments)

    def __getitem__(self, index: int) -> Moment:
        """Return the moment at an index from ``start`` on; -1 is the newest."""
        return self._moments[index - self.start if index >= 0 else index]

    @property
    def stop(self) -> int:
        """Index after the newest moment."""
        return self.start + len(self._moments)

    def append(self, moment: Moment) -> None:
        """Add the newest moment."""
        self._moments.append(moment)
        self.size += moment.size
        if moment.opened and self.floor is None:
            self.floor = moment.head - (len(moment.chunk.entries) if moment.chunk else 0)
        if moment.restarts:
            # Offsets are used again. Whatever joins here begins after the rewind.
            self._join_index, self.floor = self.stop, moment.head

    def drop(self) -> None:
        """Give up the oldest moment."""
        moment = self._moments.popleft()
        # Its place only: the moment itself may hold as much as all the others.
        self._dropped = moment.run_id, moment.place
        self.start += 1
        self.size -= moment.size
        if self.start > self._join_index:
            self._join_index = self.start
            self.floor = max(self.floor or 0, moment.head)

    def index_after(self, run_id: str, place: Place, *, reading: str) -> int | None:
        """Return the index of what comes after this place; None if not all of that is here.

        ``reading`` is the run that the next moment comes from.
        """
        index = self.stop
        found = index if reading == run_id else None
        for moment in reversed(self._moments):
            if moment.run_id == run_id:
                if moment.place <= place:
                    return index
                if moment.midway:
                    return None
                found = index - 1
            elif found is not None:
                return found
            index -= 1
        if self._dropped is not None and self._dropped[0] == run_id and self._dropped[1] > place:
            return None
        return found

    def place_before_floor(self) -> tuple[str, Place]:
        """Return the run and place from which on all items from ``floor`` on are here."""
        return self.place_before(max(self._join_index, self.start))

    def place_before(self, index: int) -> tuple[str, Place]:
        """Return the run and place right before the moment at ``index``, which has come."""
        if index > self.start:
            before = self[index - 1]
            return before.run_id, before.place
        if self._dropped is not None:
            return self._dropped
        first = self[index]
        return first.run_id, first.place if first.midway else BEFORE_ALL
