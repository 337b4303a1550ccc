"""Appends a batch to a stream and reads in the history what became of it.

Each append is one batch with its own tag, and is sent at once. The fold decides on order and
duplicates, so that any number of writers agree with the log.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.common import RawValue

from ..errors import (
    BatchTooLargeError,
    RequestRejectedError,
    ServerUnavailableError,
    StreamClosedError,
    StreamNotFoundError,
)
from ..log import wire
from ..log.batches import batch_payload
from ..log.compact import compact_payloads
from ..log.entries import topic_bytes
from ..log.fold import Closed, Torn, Verdict
from ..log.packed import PackedEntries
from ..log.positions import position_at
from ..log.wire import Batch, Entry
from ..publish.pacing import check_room, pace_of
from ..temporal.bound import BoundWorkflow
from ..temporal.rpc import is_too_large
from .streams import Stream

MAX_BATCH_BYTES = 24 * 1024 * 1024
"""How large a batch may be, before it is packed; see :func:`counted_bytes`.

A run that is due to roll over waits for the rest of a batch until its history has 32 MiB, and no
longer. So these have to hold the batch, and what was there when the run became due. Nor may it have
more items than a message that comes in fragments.
"""

# What an item counts beside its text. It bounds how many there are, which take memory and time.
_ITEM_BYTES = 24
# What it counts at least: as many as make a batch are as many as a message may have.
_LEAST = 48

# A rollover in the middle of a batch can tear it; then nothing of it is in the stream, and it is
# sent again.
_TRIES = 3

_TOO_LARGE = (
    "The contrib hosts this stream, and takes what fits in one signal: 2 MiB of base64, "
    "somewhat less than 1.5 MB. Write it in several requests."
)


@dataclass(frozen=True, slots=True)
class Append:
    """A batch to append.

    Attributes:
        entries: Its items.
        publisher_id: Who writes; empty turns deduplication off.
        sequence: Number of the batch among the publisher's, from 1.
        close: Whether it closes the stream.
        order: Key that has to rise from batch to batch.
    """

    entries: PackedEntries
    publisher_id: str = ""
    sequence: int = 0
    close: bool = False
    order: str | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch.

    Attributes:
        verdict: What the fold decided.
        head: The stream's head after it.
        tag: Makes a position of the head.
    """

    verdict: Verdict
    head: int
    tag: str

    @property
    def position(self) -> str:
        """The head as readers are given it, to go on there."""
        return position_at(self.head, self.tag)


async def append(stream: Stream, batch: Append) -> Appended:
    """Append to a stream whose feed is held, and wait for the verdict.

    What a stream was made with comes first: everybody else's batch waits for that. Each writer
    decides that by the history. That does for any number of them, since what is in it stays there.

    Raises:
        StreamUnfinishedError: What the stream was made with is not there in time.
        StreamGoneError: It is gone, and another workflow has its name by now.
        ServerUnavailableError: Temporal did not take it, or it was not seen in the history in
            time. In that case it may be in the stream all the same.
        RunFullError: The workflow has to roll over first.
        WorkflowStreamError: It cannot be written to.
    """
    if stream.setup is not None and batch.publisher_id != stream.setup.maker:
        await stream.wait_until_finished()
    if stream.running:
        info = stream.described.raw_description.workflow_execution_info
        # A batch in several signals is not begun if the run has no room for all of it. For a
        # single signal it has.
        coming = batch.entries.packed_bytes
        several = coming > wire.FRAGMENT_BYTES
        check_room(stream.workflow_id, info.history_size_bytes, coming if several else 0)
        handle = stream.hosting.link.client.get_workflow_handle(stream.workflow_id)
        pace_of(handle).seen()
    workflow = stream.bound()
    for _ in range(_TRIES):
        appended = await _try(stream, workflow, batch)
        if not isinstance(appended.verdict, Torn):
            return appended
    raise ServerUnavailableError("The stream rolled over too often while a large batch was sent")


async def publish(stream: Stream, batch: Append) -> None:
    """Send a batch to a host whose history tells no verdicts, without waiting for one.

    Such a host knows no fragments, and may drop a batch with fields that are not the contrib's.

    Raises:
        BatchTooLargeError: It is more than one signal can hold.
        StreamClosedError: The workflow has ended.
        WorkflowStreamError: It cannot be written to.
    """
    if batch.entries.data_bytes > wire.MAX_SIGNAL_BYTES:  # so that no copies of it are made
        raise BatchTooLargeError(_TOO_LARGE)
    payload = batch_payload(
        batch.entries, batch.publisher_id, batch.sequence, close=batch.close, order=batch.order
    )
    if Payloads(payloads=[payload]).ByteSize() > wire.MAX_SIGNAL_BYTES:
        raise BatchTooLargeError(_TOO_LARGE)
    try:
        await _send(stream, stream.bound(), payload)
    except RequestRejectedError as err:
        if is_too_large(err):
            # A payload codec can make it larger than it was.
            raise BatchTooLargeError(_TOO_LARGE) from err
        raise


async def _try(stream: Stream, workflow: BoundWorkflow, batch: Append) -> Appended:
    feed = stream.feed
    if feed.done or feed.end is not None:
        return await _after_end(stream, batch)
    tag = uuid.uuid4().hex
    with feed.mailbox.tagged(tag) as verdict:
        await _signal(stream, workflow, batch, tag)
        try:
            async with asyncio.timeout(stream.hosting.append_seconds):
                await feed.wait_known(verdict.done)
        except TimeoutError as err:
            raise ServerUnavailableError("The batch was not seen in the history in time") from err
    if verdict.done():
        return Appended(*verdict.result(), feed.tag)
    return await _after_end(stream, batch)


async def _send(stream: Stream, workflow: BoundWorkflow, payload: Payload) -> None:
    handle = stream.hosting.link.client.get_workflow_handle(stream.workflow_id)
    patience = stream.hosting.append_seconds
    async with pace_of(handle).sending(handle, len(payload.data), patience=patience):
        call = workflow.signal(wire.PUBLISH_SIGNAL, [RawValue(payload)])
        await stream.hosting.link.call(call, stream.workflow_id)


async def _signal(stream: Stream, workflow: BoundWorkflow, batch: Append, tag: str) -> None:
    for payload in signals_of(batch, tag):
        try:
            await _send(stream, workflow, payload)
        except StreamClosedError:
            # The workflow has ended. The feed is about to tell how the stream has.
            async with asyncio.timeout(stream.hosting.append_seconds):
                await stream.feed.wait_known(lambda: stream.feed.done)
            return


def content_payload(data: bytes) -> Payload:
    """Wrap bytes the way every default payload converter reads them."""
    return Payload(metadata={"encoding": b"binary/plain"}, data=data)


def counted_bytes(topic: str, kind: bytes, data: bytes) -> int:
    """Return how much an item counts where batches and copies are bounded.

    These are its bytes, those of its topic and of its payload's metadata, and 24 beside.
    """
    return max(_LEAST, topic_bytes(topic) + len(kind) + len(data) + _ITEM_BYTES)


def in_bounds(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries, as long as they are no more than a batch may hold.

    Raises:
        BatchTooLargeError: They are over :data:`MAX_BATCH_BYTES`.
    """
    size = 0
    for entry in entries:
        size += counted_bytes(*entry)
        if size > MAX_BATCH_BYTES:
            raise BatchTooLargeError(
                f"This makes more than the {MAX_BATCH_BYTES:,} bytes that can be written at once: "
                "each value counts its own bytes and some 60 beside. Write it in several requests."
            )
        yield entry


def signals_of(batch: Append, tag: str = "") -> Iterator[Payload]:
    """Yield the arguments of the signals that carry a batch: one, or its fragments."""
    return compact_payloads(
        Batch(batch.entries, batch.publisher_id, batch.sequence, tag, batch.close, batch.order)
    )


async def _after_end(stream: Stream, batch: Append) -> Appended:
    """Return the verdict on a batch that came after the end.

    Raises:
        StreamGoneError: That was the end of a stream that has been deleted.
    """
    feed = stream.feed
    if feed.error is not None:
        raise feed.error.with_traceback(None)
    if feed.end is None:
        raise StreamNotFoundError(feed.workflow_id, "it is not followed any more")
    if stream.setup is not None and feed.end.outcome == "terminated":
        await stream.check_not_gone()
    sent = (batch.publisher_id, batch.sequence)
    verdict = Closed(by_this=bool(batch.publisher_id) and feed.view.closed_by == sent)
    return Appended(verdict, feed.head, feed.tag)
