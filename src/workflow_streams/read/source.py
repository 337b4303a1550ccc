"""What a stream is read from: Temporal's event history, a polled host, or memory in tests.

The readers in this folder know no more of it than this. They share a feed (:mod:`.feeds`) of one
source, and each goes its own way through it (:mod:`.walk`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ..events import Last
from .moments import Page, Place


class Standing(Protocol):
    """What the stream's name means at one time: a run, in a chain of runs."""

    @property
    def run_id(self) -> str:
        """The run that was asked for, or the current one."""
        ...

    @property
    def first_run_id(self) -> str:
        """First run of its chain, through rollovers, retries, cron runs and resets."""
        ...

    async def base(self) -> tuple[int, bool]:
        """Return the run's base, and whether a ring buffer moves it on with each item."""
        ...


class Reading(Protocol):
    """One pass over a stream, from the start of a run to the stream's end."""

    def pages(self) -> AsyncGenerator[Page]:
        """Yield moments in order, a page at a time; wait for more at the head.

        The last page holds the ``End``.

        Raises:
            WorkflowStreamError: The stream cannot be read.
        """
        ...

    def hasten(self) -> None:
        """Note that something stands in the stream which has not been read yet."""
        ...

    def wake(self) -> None:
        """Look for what has come at once, if it would do so at intervals only."""
        ...

    def standing(self, publisher_id: str, sequence: int) -> tuple[str, Place] | None:
        """Return the run and place up to which a batch has been read; None if it has not been."""
        ...

    def last_sequence(self, publisher_id: str) -> int | None:
        """Return the last accepted batch of a publisher; None if none is known in this run."""
        ...


class Host(Protocol):
    """Answers what only the host of a polled stream knows. One object per feed."""

    async def base(self, run_id: str, known: int, head: int, since: float) -> int:
        """Return where a run's log began at the time ``since``, or after it.

        Args:
            run_id: The run.
            known: Where it begins at the least; this is the answer as well if there is no other.
            head: An offset that the log has come to.
            since: Time of the event loop.
        """
        ...

    async def head(self, run_id: str) -> int:
        """Return a run's head.

        Raises:
            HostUnavailableError: No worker answers.
            StreamNotFoundError: The workflow hosts no stream.
        """
        ...

    async def has_closed(self, run_id: str) -> bool:
        """Return whether a run has closed."""
        ...


class Source(Protocol):
    """One stream, by its workflow's id. It holds no state, so equal ones may be made at will."""

    @property
    def workflow_id(self) -> str:
        """Workflow that hosts the stream."""
        ...

    @property
    def run_id(self) -> str | None:
        """The run to begin with, if it is pinned to one."""
        ...

    @property
    def connection(self) -> object:
        """By what it is reached. A process shares a feed of it per connection and event loop."""
        ...

    @property
    def key(self) -> Hashable:
        """What tells it from the other streams of its connection."""
        ...

    def pinned(self, run_id: str) -> Source:
        """Return the source of the same stream that begins with this run."""
        ...

    # Where the stream is.

    async def look(self, run_id: str | None = None) -> Standing:
        """Return what the name means now, or this run.

        Raises:
            StreamNotFoundError: There is no such workflow or run.
            ServerUnavailableError: The server does not answer.
        """
        ...

    async def has_run(self, run_id: str) -> bool:
        """Return whether a run is still there; the namespace's retention deletes closed ones."""
        ...

    # What stands in it.

    def read(
        self,
        run_id: str,
        offset: int | Last = 0,
        *,
        behind: bool = False,
        or_before: bool = False,
        path: Mapping[str, str] | None = None,
    ) -> Reading:
        """Prepare to read from the start of a run.

        Args:
            run_id: Run to begin with.
            offset: Where to begin on a stream that has to be polled.
            behind: Whether that one is known to hold more than what is before ``offset``.
            or_before: Whether to begin with the run before if this one has not opened yet.
            path: For some runs, which one to go on with, past runs that restarts have replaced.
        """
        ...

    async def newest_event_id(self, run_id: str) -> int:
        """Return the id of the last event that stands in a run now."""
        ...

    def host(self) -> Host | None:
        """Return what asks the stream's host, for runs whose pages say that they are polled.

        None if there are no such runs.
        """
        ...

    def bounded(self, seconds: float | None) -> AbstractAsyncContextManager[None]:
        """Bound the time that the block waits in an outage; without ``seconds``, it waits it out.

        Raises:
            ServerUnavailableError: Within the block, the outage has lasted that long.
        """
        ...
