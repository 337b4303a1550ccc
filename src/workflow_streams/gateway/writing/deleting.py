"""DELETE: streams of the gateway's own; their names are free at once, their runs go later."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from ...errors import ServerUnavailableError, StreamClosedError, StreamNotFoundError
from ...hosted.deletion import Doomed, delete_run, start_deletion
from ...hosted.host import HostSetup, start_host
from ...read.runs.lookup import first_run_of
from ..problems import NotOfferedError
from ..security import authorize
from ..sessions import Gateway, gateway_of
from .forks import deleted_for_forks, fork_is_gone

# The run that says "deleted" is not worked on; if its gateway is killed, it goes by itself then.
_AFTER_ALL = timedelta(hours=1)
# A rollover can come between ending a run and putting another one in its place.
_TRIES = 3
_REASON = "the stream is gone"


async def delete(request: Request, workflow_id: str) -> Response:
    """Delete a stream that was made by PUT."""
    await authorize(request, "write", workflow_id)
    gateway = gateway_of(request)
    async with gateway.found(workflow_id) as stream:
        if stream.setup is None:
            detail = "A workflow's stream goes with its workflow; it is not deleted here."
            raise NotOfferedError(detail)
        described = stream.described
        first = first_run_of(described)
        deletion = Deletion(gateway, workflow_id, described.run_id, first, stream.setup)
        if await deleted_for_forks(gateway, stream):
            await deletion.begin(terminate=False)
        else:
            await deletion.run()
            stream.feed.stop()
    return Response(status_code=204, headers={"cache-control": "no-store"})


@dataclass(frozen=True, slots=True)
class Deletion:
    """Deletes a stream.

    Attributes:
        gateway: Deletes it.
        workflow_id: The stream.
        run_id: One of its runs.
        first_run_id: The first of them.
        setup: What it was made with.
    """

    gateway: Gateway
    workflow_id: str
    run_id: str
    first_run_id: str
    setup: HostSetup

    async def run(self) -> None:
        """Have its runs deleted, and put a run in its place that says so.

        The server deletes runs some half a minute later; until then they could be read. If this
        breaks off, the runs are deleted all the same, from the first step on.
        """
        if self.setup.forked_from is not None:
            # Later, another fork may have this name.
            await fork_is_gone(self.gateway, self.workflow_id, self.setup.forked_from)
        await self.begin(terminate=True)
        link = self.gateway.link
        place_holder = await self._replace()
        if place_holder is not None:
            await end_run(self.gateway, self.workflow_id, place_holder)
            with suppress(StreamNotFoundError):
                call = delete_run(link.client, self.workflow_id, place_holder)
                await link.call(call, self.workflow_id)

    async def _replace(self) -> str | None:
        """Put a run in the stream's place, and return it; None if there is another stream."""
        link = self.gateway.link
        newest = link.client.get_workflow_handle(
            self.workflow_id, first_execution_run_id=self.first_run_id
        )
        for _ in range(_TRIES):
            with suppress(StreamClosedError, StreamNotFoundError):
                await link.call(newest.terminate(reason=_REASON), self.workflow_id)
            start = start_host(
                link.client,
                self.workflow_id,
                replace(self.setup, deleted=True),
                task_queue=self.gateway.settings.host_task_queue,
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

    async def begin(self, *, terminate: bool) -> None:
        """Have its runs deleted by the workers of hosted streams, now or when it has ended."""
        link = self.gateway.link
        doomed = Doomed(self.workflow_id, self.run_id, terminate)
        queue = self.gateway.settings.host_task_queue
        await link.call(start_deletion(link.client, doomed, task_queue=queue), self.workflow_id)


async def end_run(gateway: Gateway, workflow_id: str, run_id: str) -> None:
    """End a run that only says that its stream is gone, or is about to."""
    handle = gateway.link.client.get_workflow_handle(workflow_id, run_id=run_id)
    with suppress(StreamClosedError, StreamNotFoundError):  # it may have ended
        await gateway.link.call(handle.terminate(reason=_REASON), workflow_id)
