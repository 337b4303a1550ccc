"""Waits for a workflow that has not been started yet, with one poll for all its readers.

A hosted stream that has been deleted or has expired is waited for, too: its name is free, and
another one may be made in its place.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from temporalio.client import Client

from ..errors import CodecError, StreamGoneError, StreamNotFoundError
from .feeds.registry import Registry
from .runs.gone import check_not_gone
from .runs.lookup import describe
from .runs.source import key_of
from .waiting import ended

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
LOOKS_PER_SECOND = 50
"""Looks for all the workflows that are waited for by one connection, however many they are. When
there are more of them than that, each is looked for less often."""


async def wait_for_workflow(
    client: Client, workflow_id: str, run_id: str | None, seconds: float
) -> bool:
    """Return as soon as the workflow exists, closed or not; tell whether that had to be waited for.

    A hosted stream that is gone does not count, unless one run of it is asked for.

    The server is asked at intervals that grow from 50 ms to 1 s, and a last time when the time is
    over. All readers that wait for one workflow on an event loop and connection share these calls.

    Args:
        client: Temporal client.
        workflow_id: Workflow to wait for.
        run_id: One run of it; None for any.
        seconds: How long to wait. With 0, the server is asked once. While the server is away, this
            waits on: only an answer can tell that there is no such workflow.

    Raises:
        StreamNotFoundError: It has not been started in time.
        StreamGoneError: It is gone, and no other one has been made in time.
        WorkflowStreamError: For what waiting does not mend: not permitted, no such namespace.
    """
    key = key_of(client, workflow_id, run_id)
    loop = asyncio.get_running_loop()
    arrival = _arrivals.get(
        client.service_client, key, lambda: _Arrival(client, workflow_id, run_id)
    )
    arrival.waiting += 1
    try:
        await arrival.wait(seconds)
        return arrival.was_missing
    finally:
        arrival.waiting -= 1
        if not arrival.waiting:
            _arrivals.remove(client.service_client, loop, key, arrival)
            await arrival.aclose()


def pause_after(looks: int, workflows: int) -> float:
    """Return for how many seconds to rest after so many looks, with so many workflows to look for.

    A new reader cuts it short, to 50 ms at least.
    """
    pause = FIRST_PAUSE_SECONDS * 2.0 ** min(looks - 1, 10)
    return max(min(pause, LONGEST_PAUSE_SECONDS), workflows / LOOKS_PER_SECOND)


class _Arrival:
    """Looks for one workflow on behalf of all readers that wait for it.

    Attributes:
        waiting: How many do.
    """

    def __init__(self, client: Client, workflow_id: str, run_id: str | None) -> None:
        self.waiting = 0
        self._client = client
        self._workflow_id = workflow_id
        self._run_id = run_id
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._begun = self._ended = 0
        self._missing: StreamNotFoundError | None = None
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def was_missing(self) -> bool:
        """Whether the server has said that there is no such workflow."""
        return self._missing is not None

    async def wait(self, seconds: float) -> None:
        """Wait until the workflow is there, or the time is over."""
        if self._task is None:
            self._task = asyncio.create_task(self._look_until_there(), name="wait for a workflow")
        self._wanted.set()
        number = self._begun + 1
        if seconds > 0:
            await asyncio.wait({self._task}, timeout=seconds)
            # The last look may be a second old by now; one more tells for sure.
            number = self._begun + 1
        while not self._task.done() and self._ended < number:
            self._wanted.set()
            either: set[asyncio.Future[None]] = {self._task, self._news}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            return self._task.result()
        if isinstance(self._missing, StreamGoneError):
            raise StreamGoneError(self._workflow_id, has_forks=self._missing.has_forks)
        raise StreamNotFoundError(
            self._workflow_id, f"it has not been started within {seconds:g} s"
        ) from self._missing

    async def aclose(self) -> None:
        """Stop looking."""
        if self._task is not None:
            await ended(self._task)

    async def _look_until_there(self) -> None:
        looks = 0
        while not await self._look():
            looks += 1
            await asyncio.sleep(FIRST_PAUSE_SECONDS)
            workflows = len(_arrivals.all_of(self._client.service_client))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_after(looks, workflows) - FIRST_PAUSE_SECONDS):
                    await self._wanted.wait()

    async def _look(self) -> bool:
        self._wanted.clear()
        self._begun += 1
        try:
            described = await describe(self._client, self._workflow_id, self._run_id)
            if self._run_id is None:
                with suppress(CodecError):  # whoever reads it is told
                    await check_not_gone(described)
        except StreamNotFoundError as err:
            self._missing = err
        else:
            return True
        self._ended = self._begun
        self._news.set_result(None)
        self._news = asyncio.get_running_loop().create_future()
        return False


_arrivals: Registry[_Arrival] = Registry()
