"""The stream that a request is about: looked up, opened, and how far it reaches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone

from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
)

from .. import wire
from ..errors import StreamNotFoundError
from ..events import End
from ..hosted import DELETED_MEMO_KEY, EXPIRED_MEMO_KEY, SETUP_MEMO_KEY, HostSetup
from ..reader.hub import Feed, feed_of
from .frames import ENVELOPES, Shape, shape_of
from .problems import GoneError, NoStreamError, UnavailableError
from .settings import GatewaySettings
from .temporal import TemporalLink

# The last events of a history may be transient, and not be counted alike by two calls.
_LONGEST_WAIT_FOR_TIP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream, as the server described it when the request came.

    Attributes:
        feed: Its feed in this process.
        setup: What it was made with by PUT; None for a workflow of the user's.
    """

    feed: Feed
    setup: HostSetup | None
    described: WorkflowExecutionDescription
    settings: GatewaySettings
    link: TemporalLink

    @property
    def workflow_id(self) -> str:
        """Its workflow."""
        return self.feed.workflow_id

    @property
    def running(self) -> bool:
        """Whether its workflow was running."""
        return self.described.status == WorkflowExecutionStatus.RUNNING

    @property
    def polled(self) -> bool:
        """Whether the contrib hosts it."""
        return self.feed.chain is not None and self.feed.chain.polled

    @property
    def shape(self) -> Shape:
        """How its items look to a client."""
        rules = self.feed.chain.rules if self.feed.chain is not None else None
        if rules is not None:
            return shape_of(rules.content_type)
        return ENVELOPES if self.setup is None else shape_of(self.setup.content_type)

    @property
    def end(self) -> End | None:
        """How it ended, as far as the feed has come."""
        return self.feed.ring[-1].end if self.feed.done and self.feed.ring else None

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
        """Wait until the stream has been opened; somebody must keep the feed running.

        Raises:
            UnavailableError: No worker has opened it yet.
            StreamNotFoundError: It is no stream.
        """
        try:
            async with asyncio.timeout(self.settings.open_seconds):
                await self.feed.wait(lambda: self.feed.floor is not None)
        except TimeoutError:
            raise UnavailableError(
                "The stream has not been opened yet; a worker has to run its workflow first."
            ) from None

    async def now(self) -> int:
        """Return the head; somebody must keep the feed running from before to after."""
        await (await self.tip()).wait()
        return self.feed.head

    async def tip(self) -> Tip:
        """Return where the stream reached to when the request came.

        Raises:
            StreamNotFoundError: The workflow hosts no stream.
        """
        await self.ready()
        if not self.polled:
            return Tip(self)
        handle = self.feed.client.get_workflow_handle(self.workflow_id)
        query = handle.query(wire.OFFSET_QUERY, result_type=int)
        try:
            return Tip(self, await self.link.call(query, self.workflow_id))
        except WorkflowQueryFailedError as err:
            raise StreamNotFoundError(self.workflow_id, "hosts no stream") from err


class Tip:
    """The place in the history that a read has to have come by, to see all that was written."""

    def __init__(self, stream: Stream, polled_head: int | None = None) -> None:
        """Take the place from the stream's description, or its head from its host's answer."""
        self._feed = stream.feed
        self._running = stream.running
        self._run_id = stream.described.run_id
        self._length = stream.described.history_length
        self._polled_head = polled_head
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + _LONGEST_WAIT_FOR_TIP_SECONDS
        self._loop = loop

    def reached(self) -> bool:
        """Whether the feed has come by it."""
        feed = self._feed
        if feed.done or self._loop.time() >= self._deadline:
            return True
        if self._polled_head is not None:
            return self._running and feed.head >= self._polled_head
        here = feed.run_id == self._run_id and feed.seen_id >= self._length
        return self._running and here

    async def wait(self) -> None:
        """Wait until the feed has come by it."""
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._feed.wait(self.reached)
        except TimeoutError:
            pass  # what the feed has seen by now is what there is


async def find(link: TemporalLink, settings: GatewaySettings, workflow_id: str) -> Stream:
    """Look a stream up.

    Raises:
        NoStreamError: There is none of this name, or not any more.
        GoneError: It has been deleted, and has forks.
        ServerUnavailableError: Temporal does not answer.
    """
    client = link.client
    feed = feed_of(client, workflow_id, None)
    handle = client.get_workflow_handle(workflow_id)
    described = await link.call(handle.describe(), workflow_id)
    setup = await setup_of(described)
    if setup is not None:
        if await is_gone(described, setup):
            raise NoStreamError
        if await described.memo_value(DELETED_MEMO_KEY, False):
            raise GoneError("The stream has been deleted; only forks of it are left.")
    return Stream(feed, setup, described, settings, link)


async def setup_of(described: WorkflowExecutionDescription) -> HostSetup | None:
    """Return what a stream was made with by PUT; None for a workflow of the user's."""
    return await described.memo_value(SETUP_MEMO_KEY, None, type_hint=HostSetup)


async def is_gone(described: WorkflowExecutionDescription, setup: HostSetup) -> bool:
    """Whether a stream made by PUT has been deleted or has expired."""
    if setup.deleted or await described.memo_value(EXPIRED_MEMO_KEY, False):
        return True
    # Its worker may not have come to end it yet.
    return setup.expiry is not None and setup.expiry <= datetime.now(timezone.utc)
