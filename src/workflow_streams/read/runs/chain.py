"""Follows a stream through the runs of its workflow."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from ...events import Last
from ...log.wire import RunRef
from ..history.renewal import Renewal
from ..history.waiting_budget import Waiter, budget_of
from ..moments import Page, Place
from .history_run import HistoryRun
from .polled.run import PolledRun
from .route import Route
from .takeover import Entry


class Chain:
    """Reads one stream from the start of a run to its end.

    Attributes:
        run: The run being read.
    """

    def __init__(
        self,
        client: Client,
        workflow_id: str,
        run_id: str,
        *,
        offset: int | Last = 0,
        behind: bool = False,
        or_before: bool = False,
        path: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare to read.

        Args:
            client: Temporal client.
            workflow_id: Workflow that hosts the stream.
            run_id: Run to begin with.
            offset: Where to begin on a stream that has to be polled.
            behind: Whether that one is known to hold more than what is before ``offset``.
            or_before: Whether to begin with the run before if this one has not opened yet.
            path: For some runs, which one to go on with, past runs that restarts have replaced.
        """
        self._client = client
        self._workflow_id = workflow_id
        self._offset = offset
        self._behind = behind
        self._route = Route(client, workflow_id, path or {})
        self._renewal = Renewal(Waiter(budget_of(client), workflow_id))
        self.run: HistoryRun | PolledRun = self._entered(Entry(run_id, or_before=or_before))

    def hasten(self) -> None:
        """Note that there is an event which has not been read yet."""
        self._renewal.hasten()

    def wake(self) -> None:
        """Look for events at once if no call waits for them."""
        self._renewal.wake()

    def standing(self, publisher_id: str, sequence: int) -> tuple[str, Place] | None:
        """Return the run and place up to which a publisher's batch has been read.

        None if neither the batch nor one of a newer attempt has been read yet, and in a polled run,
        which does not tell.
        """
        run = self.run
        return run.standing(publisher_id, sequence) if isinstance(run, HistoryRun) else None

    def last_sequence(self, publisher_id: str) -> int | None:
        """Return the last accepted batch of a publisher; None if none is known in this run."""
        fold = self.run.fold
        return None if fold is None else fold.publishers.get(publisher_id)

    async def pages(self) -> AsyncGenerator[Page]:
        """Yield moments in order, a page at a time; the last holds the ``End``.

        Raises:
            StreamCorruptedError: A run does not go on where the run before it ended.
            CodecError: The payload codec fails, or is missing here.
            WorkflowStreamError: The stream cannot be read.
        """
        while True:
            run = self.run
            async with aclosing(run.pages()) as pages:
                async for page in pages:
                    yield page
            if isinstance(run, HistoryRun) and run.polled:
                self.run = PolledRun(
                    self._client,
                    self._workflow_id,
                    run,
                    self._follow,
                    offset=self._offset,
                    behind=self._behind,
                )
                continue
            if run.next is None:
                return
            went_back = run.fold is None and run.next.left is None
            if went_back and run.next.run_id == run.origin.before and not run.takeover.restart:
                # From there not to the run that it continued as, in whose place a reset may have
                # put this one.
                self._route.lead(run.next.run_id, run.run_id)
            self.run = self._entered(run.next)

    def _entered(self, entry: Entry) -> HistoryRun:
        return HistoryRun(self._client, self._workflow_id, entry, self._follow, self._renewal)

    async def _follow(self, run: HistoryRun | PolledRun, close: HistoryEvent) -> Entry | None:
        """Return how to go on after a run has closed; None at the stream's end."""
        takeover = run.takeover
        # A polled run that was passed over has not told what its own restart takes back.
        restart = takeover.restart if takeover.pending else None
        following = await self._route.after(run.origin, () if run.polled else run.line, close)
        if following.run_id is None:
            return None
        line: tuple[RunRef, ...] = run.line
        reset, repeats = (takeover.reset if restart else None), takeover.repeats
        if following.reset is not None:
            reset = following.reset
            repeats = reset.forks is not None
            # The next run opens where the one did whose place it takes.
            line = (*reset.kept, reset.replaced or RunRef(reset.run_id, 0))
        return Entry(
            following.run_id,
            left=run.left,
            line=line,
            rules=run.rules,
            restart=following.restart or restart,
            reset=reset,
            repeats=repeats,
            by_path=following.by_path,
            or_before=run.may_go_back,
        )
