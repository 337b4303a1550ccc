"""Forks: streams that begin with a copy of another (Durable Streams 4.2).

What a fork inherits is copied when it is made, so that it lives by itself and is read like any
other stream. The source's host counts its forks; a source that is deleted before its forks is kept
for them, but cannot be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress

from temporalio.client import WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.common import RawValue

from ..errors import (
    ForkError,
    ForkOffsetError,
    ForkTooLargeError,
    RequestRejectedError,
    StreamClosedError,
    StreamGoneError,
    StreamNotFoundError,
    StreamNotHostedError,
    WorkflowStreamError,
)
from ..events import Gap
from ..log import wire
from ..log.batches import batch_payload
from ..log.entries import AT_ONCE, entry_of
from ..log.media_types import JSON_TYPE, media_type
from ..log.positions import chain_digest
from ..log.wire import Entry
from ..read.walk import Slice, Walk
from ..temporal import messages
from ..temporal.codec import memo_value
from .appends import content_payload, counted_bytes
from .fork_point import ForkPoint
from .forking.forgetting import forget_gone_forks
from .forking.noted import ForkList
from .host import (
    DELETE_SIGNAL,
    DELETE_UPDATE,
    FORK_SIGNAL,
    FORK_UPDATE,
    FORKS_MEMO_KEY,
    FORKS_QUERY,
    TOO_MANY_FORKS,
    HostSetup,
)
from .streams import Hosting, Stream, found, shared_with

MAX_INHERITED_BYTES = 256 * 1024 * 1024
"""What a fork can begin with: each item counts as in a batch; see ``appends.counted_bytes()``.

It is copied in one go, with a signal and a verdict for each 1.25 MB.
"""

COPY_BYTES = 2 * wire.FRAGMENT_BYTES
"""What a copy takes while it is made: a batch of the fork, and what has been read of the source."""

_TRIES = 5

# A fork remembers so many of the streams that it descends from, the nearest ones. It takes the
# positions of those, too.
_MOST_ANCESTORS = 100

_TOO_MANY = "The stream has as many forks as it can have."
_DELETED = "The stream to be forked has been deleted."
_TOO_LARGE = (
    "A fork holds a copy of what it begins with, and this would be more than "
    f"{MAX_INHERITED_BYTES:,} bytes: each value counts its own bytes and some 60 beside. "
    "Fork the stream at a lower offset."
)


class NotForkedError(ForkError):
    """The source is there, but cannot be forked; a fork that has been begun is undone."""


class ForkSource:
    """The stream that a fork is made of.

    Attributes:
        point: Where it is to be forked.
        setup: What it was made with.
    """

    def __init__(self, stream: Stream, setup: HostSetup, point: ForkPoint) -> None:
        """Use :func:`found_source`."""
        self._stream = stream
        self.point = point
        self.setup = setup

    @property
    def _json(self) -> bool:
        """Whether a sub-offset counts items, and not bytes."""
        return media_type(self.setup.content_type) == JSON_TYPE

    @property
    def chains(self) -> str:
        """What the fork's setup says of the streams that it descends from."""
        own = chain_digest(self._stream.first_run_id).hex()
        known = [f"{chain}@{most}" for chain, most in shared_with(self.setup).items()]
        return ",".join([own, *known[: _MOST_ANCESTORS - 1]])

    async def count(self) -> int:
        """Return how many items the fork begins with, once it is clear that they can be copied.

        Raises:
            ForkOffsetError: The place lies past what is there.
            ForkError: Items before it are not there any more.
            ForkTooLargeError: They are more than :data:`MAX_INHERITED_BYTES`.
        """
        stream, point = self._stream, self.point
        async with stream.held():
            head = await stream.now()
            at = head if point.offset is None else point.offset
            if point.position and not stream.knows(point.position):
                raise ForkError(
                    stream.workflow_id, "That offset is of another stream that had this name."
                )
            past = point.sub_offset
            whole = at + past if self._json else at + bool(past)
            if at > head or whole > head:
                raise ForkOffsetError(at, "The fork's offset lies past what is there.")
            size = 0
            async with aclosing(self._items(whole)) as items:
                async for item in items:
                    size += counted_bytes(*item)
                    if size > MAX_INHERITED_BYTES:
                        raise ForkTooLargeError(stream.workflow_id, _TOO_LARGE)
        return whole

    async def beginning_with(self, count: int, own: Iterable[Entry]) -> AsyncGenerator[Entry]:
        """Yield the first items of the source, and then the fork's own.

        Raises:
            NotForkedError: Items of the source are not there any more.
        """
        async with self._stream.held(), aclosing(self._items(count)) as items:
            async for item in items:
                yield item
        for number, entry in enumerate(own, 1):
            yield entry
            await _pause_after(number)

    async def _items(self, count: int) -> AsyncGenerator[Entry]:
        """Yield the first ``count`` items; the last one is cut where the sub-offset says."""
        feed = self._stream.feed
        past = 0 if self._json else self.point.sub_offset
        at = 0
        if not count:
            return
        async with aclosing(Walk(feed, 0).steps()) as steps:
            async for step in steps:
                if isinstance(step, Gap) or (isinstance(step, Slice) and step.offset != at):
                    raise NotForkedError(
                        feed.workflow_id, "Not all that was before that offset is still there."
                    )
                for item in step.entries[: count - at] if isinstance(step, Slice) else ():
                    at += 1
                    yield _cut(item, past) if past and at == count else item
                    await _pause_after(at)
                if at == count:
                    return
        raise StreamNotFoundError(feed.workflow_id, "it is not followed any more")

    async def note(self, workflow_id: str) -> None:
        """Tell the source of the fork, unless it is closed and its workflow has ended.

        If it has no room for another fork, it is looked whether some that it knows are gone.

        Raises:
            NotForkedError: It has too many forks.
        """
        source, link = self._stream.workflow_id, self._stream.hosting.link
        try:
            await self._note(workflow_id)
        except NotForkedError:
            if not await forget_gone_forks(link, source):
                raise
            await self._note(workflow_id)

    async def _note(self, workflow_id: str) -> None:
        source = self._stream.workflow_id
        try:
            with suppress(StreamClosedError, StreamNotFoundError):
                forks = await _told(self._stream, FORK_SIGNAL, workflow_id)
                if forks is None:
                    deleted = not await _update(self._stream, FORK_UPDATE, workflow_id)
                else:
                    deleted = bool(forks.deleted)
                if deleted:
                    raise NotForkedError(source, _DELETED)
                if forks is not None and workflow_id not in forks.names:
                    raise NotForkedError(source, _TOO_MANY)
        except WorkflowUpdateFailedError as err:
            if getattr(err.cause, "type", None) == TOO_MANY_FORKS:
                raise NotForkedError(source, _TOO_MANY) from err


@asynccontextmanager
async def found_source(
    hosting: Hosting, point: ForkPoint, content_type: str | None = None
) -> AsyncIterator[ForkSource]:
    """Look up the stream that is to be forked.

    Args:
        hosting: Where streams are hosted.
        point: The stream, and where to fork it.
        content_type: What the fork is to hold; None for what its source does.

    Raises:
        StreamNotFoundError: There is no such stream, or not any more.
        StreamNotHostedError: It is the stream of a workflow of the user's.
        ForkError: It has been deleted, or holds something else.
    """
    async with AsyncExitStack() as stack:
        try:
            stream = await stack.enter_async_context(found(hosting, point.source))
        except StreamGoneError as err:
            if not err.has_forks:
                raise
            raise ForkError(point.source, _DELETED) from None
        if stream.setup is None:
            raise StreamNotHostedError(point.source)
        own = stream.setup.content_type
        if content_type is not None and media_type(content_type) != media_type(own):
            raise ForkError(
                point.source,
                "A fork has the content type of the stream that it is forked from.",
            )
        yield ForkSource(stream, stream.setup, point)


async def deleted_for_forks(stream: Stream) -> bool:
    """Delete a stream if it has forks, so that its name stays taken; return whether it has."""
    if not stream.running or not await memo_value(stream.described, FORKS_MEMO_KEY, int):
        return False
    with suppress(WorkflowStreamError):  # if it cannot be found out, all of them count
        await forget_gone_forks(stream.hosting.link, stream.workflow_id)
    try:
        forks = await _told(stream, DELETE_SIGNAL)
        deleted = await _update(stream, DELETE_UPDATE) if forks is None else bool(forks.deleted)
        if deleted:
            await _close(stream)
    except (StreamClosedError, StreamNotFoundError, WorkflowUpdateFailedError):
        return False  # its host has ended meanwhile
    return deleted


async def _close(stream: Stream) -> None:
    """Have a stream refuse what its writers still send, and tell its readers the end."""
    closing = RawValue(batch_payload([], wire.DELETION_PUBLISHER, 1, close=True))
    signal = stream.bound().signal(wire.PUBLISH_SIGNAL, [closing])
    await stream.hosting.link.call(signal, stream.workflow_id)


async def _told(stream: Stream, signal: str, *arguments: str) -> ForkList | None:
    """Send a host a signal about its forks, and return what it knows of them after that.

    None if its worker is of an earlier version, which knows Updates only.
    """
    link, workflow = stream.hosting.link, stream.bound()
    await link.call(workflow.signal(signal, arguments), stream.workflow_id)
    try:
        call = workflow.handle.query(FORKS_QUERY, result_type=ForkList)
        forks = await link.call(call, stream.workflow_id)
    except WorkflowQueryFailedError:
        return None
    return None if forks.deleted is None else forks


async def _update(stream: Stream, update: str, *arguments: str) -> bool:
    """Send a host an Update; again if it came just when the host rolled over."""
    link, workflow_id = stream.hosting.link, stream.workflow_id
    handle = link.client.get_workflow_handle(
        workflow_id, first_execution_run_id=stream.first_run_id
    )
    for tries_left in reversed(range(_TRIES)):
        call = handle.execute_update(update, args=arguments, result_type=bool)
        try:
            return await link.call(call, workflow_id)
        except RequestRejectedError as err:
            if not tries_left or not messages.task_failed(err.__cause__):
                raise
    raise AssertionError  # the last try returns or raises


async def _pause_after(number: int) -> None:
    """Let others have their turn now and then, since items may be small and many."""
    if number % AT_ONCE == 0:
        await asyncio.sleep(0)


def _cut(entry: Entry, size: int) -> Entry:
    topic, _, content = entry
    if size > len(content):
        raise ForkOffsetError(size, "The fork's sub-offset lies past the end of that append.")
    return entry_of(topic, content_payload(content[:size]))
