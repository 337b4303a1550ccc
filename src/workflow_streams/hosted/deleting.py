"""Deletes hosted streams; their names are free at once, their runs go later."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from ..errors import (
    ServerUnavailableError,
    StreamClosedError,
    StreamNotFoundError,
    StreamNotHostedError,
)
from ..publish.host_check import forget_host
from ..read.history.waiting_budget import wake_readers
from ..temporal.handles import first_run_of
from .deletion import Doomed, delete_run, start_deletion
from .forks import deleted_for_forks
from .host import HostSetup, start_host
from .streams import Hosting, Stream

# How long the run that says "deleted" waits for its first task. Usually it is deleted at once; if
# the process that does so is killed, it ends by itself with that task.
_AFTER_ALL = timedelta(hours=1)
# A rollover can come between ending a run and putting another one in its place.
_TRIES = 3
_REASON = "the stream is gone"


async def delete(stream: Stream) -> None:
    """Delete a stream; one that has forks is kept for them, but cannot be read any more.

    Raises:
        StreamNotHostedError: It is the stream of a workflow of the user's.
        WorkflowStreamError: Temporal did not do it.
    """
    if stream.setup is None:
        raise StreamNotHostedError(stream.workflow_id)
    forget_host(stream.hosting.link.client, stream.workflow_id)
    deletion = Deletion(
        stream.hosting,
        stream.workflow_id,
        stream.described.run_id,
        stream.first_run_id,
        stream.setup,
    )
    await deletion.begin()
    if not await deleted_for_forks(stream):
        await deletion.replace()
        # Its readers are told the end, which the feed is about to read.
        stream.feed.forget()


@dataclass(frozen=True, slots=True)
class Deletion:
    """Deletes a stream.

    Attributes:
        hosting: Where streams are hosted.
        workflow_id: The stream.
        run_id: One of its runs.
        first_run_id: The first of them.
        setup: What it was made with.
    """

    hosting: Hosting
    workflow_id: str
    run_id: str
    first_run_id: str
    setup: HostSetup

    async def run(self) -> None:
        """Have its runs deleted, and put a run in its place that says so.

        The server deletes runs some half a minute later; until then they could be read. Once the
        work has begun, the runs are deleted even if this breaks off. A fork's source forgets it
        then, too. It must have no forks of its own.
        """
        await self.begin()
        await self.replace()

    async def replace(self) -> None:
        """Put a run in the stream's place that says that it is gone, until its runs are."""
        link = self.hosting.link
        place_holder = await self._replaced()
        if place_holder is not None:
            await end_run(self.hosting, self.workflow_id, place_holder)
            with suppress(StreamNotFoundError):
                call = delete_run(link.client, self.workflow_id, place_holder)
                await link.call(call, self.workflow_id)

    async def _replaced(self) -> str | None:
        """Put a run there, and return its id; None if there is another stream by now."""
        link = self.hosting.link
        newest = link.client.get_workflow_handle(
            self.workflow_id, first_execution_run_id=self.first_run_id
        )
        for _ in range(_TRIES):
            with suppress(StreamClosedError, StreamNotFoundError):
                await link.call(newest.terminate(reason=_REASON), self.workflow_id)
                wake_readers(link.client, self.workflow_id)
            start = start_host(
                link.client,
                self.workflow_id,
                replace(self.setup, deleted=True),
                task_queue=self.hosting.task_queue,
                reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                start_delay=_AFTER_ALL,
            )
            try:
                return await link.call(start, self.workflow_id)
            except WorkflowAlreadyStartedError:
                described = await link.call(newest.describe(), self.workflow_id)
                if first_run_of(described) != self.first_run_id:
                    return None  # it has been deleted and made again meanwhile
        raise ServerUnavailableError("The stream rolled over too often while it was deleted")

    async def begin(self) -> None:
        """Have it deleted by the workers of hosted streams, whatever becomes of this process."""
        link = self.hosting.link
        doomed = Doomed(self.workflow_id, self.run_id)
        queue = self.hosting.task_queue
        await link.call(start_deletion(link.client, doomed, task_queue=queue), self.workflow_id)


async def end_run(hosting: Hosting, workflow_id: str, run_id: str) -> None:
    """End a run that only says that its stream is gone, or is about to."""
    handle = hosting.link.client.get_workflow_handle(workflow_id, run_id=run_id)
    with suppress(StreamClosedError, StreamNotFoundError):  # it may have ended
        await hosting.link.call(handle.terminate(reason=_REASON), workflow_id)
