"""The run's records: what is written to the workflow's memo. Runs in the workflow sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from ...log import wire
from ...log.entries import entries_bytes
from ...log.records import record_bytes, record_payload
from ...log.wire import Entry, Opening, Record
from ..run_sign import RunKind, RunSign
from . import memo_room
from .task_room import TaskRoom

# The memo is part of each description of the workflow and of each row of a list of workflows. So a
# larger record is followed by a second, small one, which takes its place there. For an opening
# record this value alone decides whether that command is given, so with another value runs that
# are under way would not replay.
_MEMO_BYTES = 16 * 1024
# What a record adds to its items in the message in which a workflow task completes.
_RECORD_OVERHEAD = 256


class Records:
    """Writes records, each of which is an event of the history at once (a memo upsert).

    In a run that began under the contrib it writes none: they would not replay.
    """

    def __init__(self, sign: RunSign, *, ring: bool) -> None:
        """Begin a run, in which no record has been written yet.

        Args:
            sign: How the run began.
            ring: Whether the stream is a ring buffer, which moves its base by itself.
        """
        self._sign = sign
        self._ring = ring
        self._room = TaskRoom()
        self._count = 0

    def check_room(self, entries: Sequence[Entry] = ()) -> None:
        """Take room for items, or for a truncation if there are none.

        Raises:
            ApplicationError: Type ``TaskFullError``: the workflow task would bring more than the
                server takes. Type ``MemoFullError``: the memo has no room for them.
        """
        if self._sign.native:
            self._room.check(entries)
            memo_room.check_items(entries)
            self._room.take(entries_bytes(entries))

    def open(
        self,
        opening: Opening,
        entries: Sequence[Entry],
        *,
        take_elsewhere: Callable[[int], int],
    ) -> None:
        """Write the run's first record.

        Args:
            opening: How the run found the stream.
            entries: Items of the prior run that are in no history yet.
            take_elsewhere: Takes room for so many bytes of the record from what answers to polls
                have, and returns for how many bytes there was none. Only these leave less room to
                what the task publishes.

        Raises:
            ApplicationError: Type ``MemoFullError``: the memo has no room for it.
        """
        if not self._sign.native:
            return
        record = record_payload(Record(opening.base, list(entries), opening, self._ring))
        self._room.take(_RECORD_OVERHEAD)
        memo_room.check_opening(record.ByteSize())
        self._room.take(take_elsewhere(len(record.data)))
        self._upsert(record)
        if len(record.data) > _MEMO_BYTES and self._sign.kind is RunKind.FLAGGED:
            self._replace(opening.base)

    def write(self, base: int, entries: Sequence[Entry] = ()) -> None:
        """Write a record of items, or of a truncation if there are none."""
        if not self._sign.native:
            return
        record = Record(base, list(entries), None, self._ring)
        self._room.take(_RECORD_OVERHEAD)
        self._upsert(record_payload(record))
        self._count += 1
        if self._sign.is_followed(self._count, large=record_bytes(record) > _MEMO_BYTES):
            self._replace(base)

    def _replace(self, base: int) -> None:
        """Write a small record, which takes the place of a large one in the memo."""
        self._upsert(record_payload(Record(base, ring=self._ring)))

    def _upsert(self, record: Payload) -> None:
        workflow.upsert_memo({wire.MEMO_KEY: RawValue(record)})
