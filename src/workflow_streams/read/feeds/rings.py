"""Bounds what the rings of all feeds of the process hold together."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Protocol
from weakref import ref

RINGS_BYTES = 256 * 1024 * 1024
"""What the rings of a process hold at most. Over it, those that have been idle longest give way;
readers of theirs that are not level with the stream go on by the history."""


class RingOwner(Protocol):
    """What has a ring; hashed by identity."""

    def give_way(self, size: int) -> None:
        """Drop ``size`` bytes or somewhat more, soon; from any thread."""
        ...


class Rings:
    """The sizes of rings, the least recently used first. Safe to use from several threads.

    Attributes:
        size: Bytes of all rings together, without what they have been asked to drop.
        beside: Bytes that their owners hold beside them.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        """Start with none; have them hold up to ``max_bytes``, 256 MiB by default."""
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._sizes: OrderedDict[ref[RingOwner], int] = OrderedDict()
        # Owners may go at any moment, also while the lock is held.
        self._gone: deque[ref[RingOwner]] = deque()
        self._beside: dict[ref[RingOwner], int] = {}
        self.size = 0
        self.beside = 0

    def used(self, owner: RingOwner, size: int) -> None:
        """Note that a ring is in use and holds ``size`` bytes; have others give way if need be."""
        key = ref(owner, self._gone.append)
        with self._lock:
            self._forget_gone()
            self._count(key, size)
            if size:
                self._sizes.move_to_end(key)
            asked = self._make_room(key)
        for other, much in asked:
            other.give_way(much)

    def holds_beside(self, owner: RingOwner, size: int) -> None:
        """Note what an owner holds beside its ring, and cannot drop; all rings have less room."""
        key = ref(owner, self._gone.append)
        with self._lock:
            self._forget_gone()
            self._count_beside(key, size)
            asked = self._make_room(key)
        for other, much in asked:
            other.give_way(much)

    def shrunk(self, owner: RingOwner, size: int) -> None:
        """Note that a ring holds ``size`` bytes only; that is no use of it."""
        with self._lock:
            self._count(ref(owner, self._gone.append), size)

    def _forget_gone(self) -> None:
        while self._gone:
            owner = self._gone.popleft()
            self._count(owner, 0)
            self._count_beside(owner, 0)

    def _count_beside(self, owner: ref[RingOwner], size: int) -> None:
        self.beside += size - self._beside.pop(owner, 0)
        if size:
            self._beside[owner] = size

    def _count(self, owner: ref[RingOwner], size: int) -> None:
        self.size += size - self._sizes.get(owner, 0)
        if size:
            self._sizes[owner] = size
        else:
            self._sizes.pop(owner, None)

    def _make_room(self, user: ref[RingOwner]) -> list[tuple[RingOwner, int]]:
        """Return which rings are to drop how much; it counts as dropped from now on."""
        asked: list[tuple[RingOwner, int]] = []
        most = RINGS_BYTES if self._max_bytes is None else self._max_bytes
        most = max(0, most - self.beside)
        while self.size > most and self._sizes:
            oldest, size = next(iter(self._sizes.items()))
            if oldest == user:
                break
            owner = oldest()
            much = size if owner is None else min(self.size - most, size)
            if owner is not None:
                asked.append((owner, much))
            self._count(oldest, size - much)
        return asked
