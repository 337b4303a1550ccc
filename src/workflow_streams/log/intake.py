"""Takes in publish signals: the only way from a signal's argument to a verdict. Pure.

The workflow and its readers all use it, so that they come to the same verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from temporalio.api.common.v1 import Payload

from .batches import parse_signal
from .compact import parse_whole
from .fold import Fold, Torn, Verdict
from .packed import PackedEntries
from .wire import Batch, Entry, Fragment

# Bytes that all incomplete batches may take together. Beyond it, the oldest of them is dropped.
MAX_PENDING_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Judged:
    """A batch and what became of it. ``size`` is about how many bytes its items take."""

    verdict: Verdict
    entries: Sequence[Entry]
    publisher_id: str = ""
    sequence: int = 0
    tag: str = ""
    size: int = 0


class Intake:
    """Joins batches that came in fragments, and has the fold judge each batch."""

    def __init__(self, fold: Fold, *, unpacks: bool = False) -> None:
        """Judge by ``fold``. A run never completes another run's batch: each has its own intake.

        Args:
            fold: Judges.
            unpacks: Whether items are unpacked here, once for all batches of a message. Otherwise
                it is left to whoever looks at them.
        """
        self._fold = fold
        self._unpacks = unpacks
        self._pending: dict[str, list[bytes]] = {}
        self._pending_bytes = 0

    @property
    def waiting(self) -> bool:
        """Whether a batch is incomplete: fragments of it have come, but not the last one."""
        return bool(self._pending)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes those fragments take."""
        return self._pending_bytes

    def take(self, payload: Payload | None) -> Iterator[Judged]:
        """Judge the batches in a publish signal's argument, in order.

        After each of them, the fold is as it has left it. A fragment brings none, unless it
        completes its batch.

        Args:
            payload: The argument; None if there was not exactly one.
        """
        message = parse_signal(payload) if payload is not None else None
        if payload is None or message is None:
            yield self._judge(None, 0)
        elif isinstance(message, Fragment):
            yield from self._take_fragment(message)
        else:
            yield from self._judge_all(message, len(payload.data))

    def _judge_all(self, batches: list[Batch], size: int) -> Iterator[Judged]:
        unpacked: list[Entry] | None = None
        for batch in batches:
            entries = batch.entries
            if isinstance(entries, PackedEntries):
                size = entries.held_bytes
                if self._unpacks and not entries.are_all:
                    unpacked = entries.body.entries() if unpacked is None else unpacked
                    batch = replace(batch, entries=entries.within(unpacked))
            yield self._judge(batch, size)

    def _judge(self, batch: Batch | None, size: int) -> Judged:
        if batch is None:
            return Judged(self._fold.reject(), [])
        verdict = self._fold.batch(
            batch.publisher_id,
            batch.sequence,
            len(batch.entries),
            close=batch.close,
            order=batch.order,
        )
        return Judged(verdict, batch.entries, batch.publisher_id, batch.sequence, batch.tag, size)

    def _take_fragment(self, fragment: Fragment) -> Iterator[Judged]:
        pieces = self._pending.pop(fragment.tag, [])
        held = sum(map(len, pieces))
        self._pending_bytes -= held
        if len(pieces) != fragment.index:
            # The first fragment starts the batch anew; any other has come without those before it.
            pieces, held = [], 0
            if fragment.index:
                if fragment.index == fragment.count - 1:
                    yield Judged(Torn(), [], tag=fragment.tag)
                return
        pieces.append(fragment.piece)
        if len(pieces) < fragment.count:
            self._pending[fragment.tag] = pieces
            self._pending_bytes += held + len(fragment.piece)
            self._bound()
            return
        batches = parse_whole(b"".join(pieces))
        if batches is None:
            yield self._judge(None, 0)
        else:
            yield from self._judge_all(batches, 0)

    def _bound(self) -> None:
        while self._pending_bytes > MAX_PENDING_BYTES:
            tag = next(iter(self._pending))
            self._pending_bytes -= sum(map(len, self._pending.pop(tag)))
