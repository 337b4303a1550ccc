"""A stream, looked up: what it is, whether it is gone, and how far it reaches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from temporalio.client import (
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)

from ..errors import (
    StreamGoneError,
    StreamNotFoundError,
    StreamNotOpenedError,
    StreamNotReadyError,
    StreamUnfinishedError,
)
from ..events import End
from ..log.positions import Position, chain_digest
from ..log.wire import SETUP_MEMO_KEY
from ..read.feeds.feed import Feed
from ..read.feeds.lookup import feed_of
from ..read.runs.gone import check_not_gone
from ..read.runs.source import WorkflowSource
from ..read.tip import wait_for_tip
from ..temporal.bound import BoundWorkflow
from ..temporal.codec import memo_value
from ..temporal.handles import first_run_of
from ..temporal.link import Link
from .host import HOST_TASK_QUEUE, HostSetup

_PATIENCE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Hosting:
    """Where streams are hosted, and how long to wait for their hosts.

    Attributes:
        link: The way to Temporal.
        task_queue: Task queue of the hosts.
        open_seconds: How long to wait for a stream to be opened by its worker, and for what it
            begins with.
        append_seconds: How long a write waits to see itself in the history.
    """

    link: Link
    task_queue: str = HOST_TASK_QUEUE
    open_seconds: float = 10.0
    append_seconds: float = 30.0


def shared_with(setup: HostSetup) -> dict[str, int]:
    """Return up to which offset a stream has the items of those that it descends from by forks.

    The keys are the digests of their chains.
    """
    most = setup.inherits or 0
    shared: dict[str, int] = {}
    for source in filter(None, setup.sources.split(",")):
        chain, _, own = source.partition("@")
        shared[chain] = min(most, int(own)) if own.isdigit() else most
    return shared


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream, as the server described it when it was looked up.

    Attributes:
        feed: Its feed in this process.
        setup: What it was made with; None for a workflow of the user's.
        described: Its workflow, as the server described it.
        hosting: How to ask for more of it, and how long to wait.
    """

    feed: Feed
    setup: HostSetup | None
    described: WorkflowExecutionDescription
    hosting: Hosting

    @property
    def workflow_id(self) -> str:
        """Its workflow."""
        return self.feed.workflow_id

    @property
    def running(self) -> bool:
        """Whether its workflow was running."""
        return self.described.status == WorkflowExecutionStatus.RUNNING

    @property
    def first_run_id(self) -> str:
        """First run of its workflow's chain."""
        return first_run_of(self.described)

    async def check_not_gone(self) -> None:
        """Check that its name still means this stream, and that it has not been deleted.

        Raises:
            StreamGoneError: It has been deleted or has expired.
        """
        link = self.hosting.link
        handle = link.client.get_workflow_handle(self.workflow_id)
        try:
            described = await link.call(handle.describe(), self.workflow_id)
        except StreamNotFoundError:
            raise StreamGoneError(self.workflow_id) from None
        await check_not_gone(described)
        if first_run_of(described) != self.first_run_id:
            raise StreamGoneError(self.workflow_id, replaced=True)

    def bound(self) -> BoundWorkflow:
        """Return its workflow, to be sent signals that no other one of its name gets."""
        return BoundWorkflow.of(self.hosting.link.client, self.described)

    def knows(self, position: Position) -> bool:
        """Whether a position is of this stream, or of one that it was forked from."""
        return position.chain == chain_digest(self.first_run_id) or self._is_forked_at(position)

    def start_at(self, place: int | Position) -> int | Position:
        """Return where to begin to read; up to the fork, offsets are those of the source."""
        is_forked = isinstance(place, Position) and self._is_forked_at(place)
        return place.offset if isinstance(place, Position) and is_forked else place

    def _is_forked_at(self, position: Position) -> bool:
        """Whether what comes before a position is also what the stream, a fork, began with."""
        if self.setup is None:
            return False
        shared = shared_with(self.setup).get(position.chain.hex())
        return shared is not None and position.offset <= shared

    @property
    def polled(self) -> bool:
        """Whether the contrib hosts it."""
        return self.feed.view.polled

    async def wait_for_host(self) -> None:
        """Wait until it is known whether the contrib hosts the current run.

        Right after a rollover only the run's history tells, and it has yet to be read.

        Raises:
            StreamNotOpenedError: No worker has begun to run it yet.
        """
        await self._in_time(lambda: self.feed.view.polled or self.feed.view.opened)

    @property
    def unfinished(self) -> bool:
        """Whether something of what it was made with may still be missing.

        Once everything is there, that stays so. So an answer from an old description, or from a
        feed that is behind, errs on one side only: it says that something is missing.
        """
        setup = self.setup
        if setup is None or not setup.maker or self.end is not None:
            return False
        return (self.feed.last_sequence(setup.maker) or 0) < setup.last_sequence

    async def wait_until_finished(self) -> None:
        """Wait until nothing is missing of what it was made with.

        Raises:
            StreamUnfinishedError: That takes too long; it may have been given up.
        """
        try:
            async with asyncio.timeout(self.hosting.open_seconds):
                await self.feed.wait_known(lambda: not self.unfinished)
        except TimeoutError:
            raise StreamUnfinishedError(self.workflow_id) from None

    @property
    def end(self) -> End | None:
        """How it ended, as far as the feed has come."""
        return self.feed.end

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep the feed running, and wait until the stream has been opened."""
        self.feed.retain(0)
        try:
            await self.ready()
            yield
        finally:
            self.feed.release()

    async def ready(self) -> None:
        """Wait until the stream has been opened; the caller has to keep the feed running.

        Raises:
            StreamNotOpenedError: No worker has opened it yet.
            StreamNotFoundError: It is no stream.
        """
        await self._in_time(lambda: self.feed.floor is not None)

    async def _in_time(self, opened: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(self.hosting.open_seconds):
                await self.feed.wait(opened)
        except TimeoutError:
            raise StreamNotOpenedError(
                self.workflow_id,
                "the stream has not been opened yet; a worker has to run its workflow first",
            ) from None

    async def now(self) -> int:
        """Return the head; the caller has to keep the feed running meanwhile."""
        await (await self.tip()).wait(self.feed)
        return self.feed.head

    async def tip(self) -> Tip:
        """Return where the stream reached to when it was looked up."""
        await self.ready()
        return Tip(self)


class Tip:
    """The place in the history that a read has to pass, so that it sees all that was written."""

    def __init__(self, stream: Stream) -> None:
        """Take the place from the stream's description."""
        self._stream = stream
        self._polled_head: int | None = None
        self._passed: Feed | None = None

    async def wait(self, feed: Feed) -> None:
        """Wait until a feed has passed it.

        Args:
            feed: The one that is read. If the stream has ended meanwhile, it may be another one
                than when the stream was looked up.

        Raises:
            StreamNotReadyError: The feed does not get there in time.
        """
        if self._passed is feed:
            return
        stream = self._stream
        try:
            async with asyncio.timeout(stream.hosting.open_seconds):
                if not stream.running:
                    await feed.wait_known(lambda: feed.done)
                elif stream.polled:
                    await self._wait_polled(feed)
                else:
                    await self._wait_read(feed, stream.described.history_length)
        except TimeoutError:
            raise StreamNotReadyError(
                stream.workflow_id, "the stream's history is not there yet"
            ) from None
        self._passed = feed

    async def _wait_polled(self, feed: Feed) -> None:
        if self._polled_head is None:
            self._polled_head = await self._stream.hosting.link.call(wait_for_tip(feed))
        head = self._polled_head
        await feed.wait(lambda: feed.head >= head)

    async def _wait_read(self, feed: Feed, length: int) -> None:
        run_id = self._stream.described.run_id
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await feed.wait(lambda: feed.has_read(run_id, length))
        except TimeoutError:
            # The last events that were counted may not be in the history: those of tries of a task
            # that has failed.
            call = feed.source.newest_event_id(run_id)
            newest = await self._stream.hosting.link.call(call, feed.workflow_id)
            await feed.wait_known(lambda: feed.has_read(run_id, newest))


@asynccontextmanager
async def found(hosting: Hosting, workflow_id: str) -> AsyncIterator[Stream]:
    """Look a stream up, and keep its feed for others who look it up meanwhile.

    The feed is not started by that.

    Raises:
        StreamNotFoundError: There is no workflow of this name.
        StreamGoneError: It has been deleted or has expired; the error says whether it has forks.
        CodecError: Its memo is encoded, and the client cannot decode it.
        ServerUnavailableError: Temporal does not answer.
    """
    link = hosting.link
    client = link.client
    handle = client.get_workflow_handle(workflow_id)
    described = await link.call(handle.describe(), workflow_id)
    setup = await setup_of(described)
    await check_not_gone(described)
    feed = feed_of(WorkflowSource(client, workflow_id))
    if feed.first_run_id not in ("", first_run_of(described)):
        feed.forget()  # the id has been used again
        feed = feed_of(WorkflowSource(client, workflow_id))
    with feed.found():
        yield Stream(feed, setup, described, hosting)


async def setup_of(described: WorkflowExecution) -> HostSetup | None:
    """Return what a hosted stream was made with; None for a workflow of the user's.

    Raises:
        CodecError: It is encoded, and the client cannot decode it.
    """
    return await memo_value(described, SETUP_MEMO_KEY, HostSetup)
