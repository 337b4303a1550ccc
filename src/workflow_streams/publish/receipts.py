"""Tells callers what has become of their items: the server has taken them, or never will.

An error that drops items has to reach somebody. If nobody waits for them at that moment, it is kept
for the next call or for the end of the block, and the log has it at once.
"""

from __future__ import annotations

import asyncio
import logging

from ..errors import PublishError
from .batcher import Outgoing

logger = logging.getLogger("workflow_streams")

Placed = tuple[int, int]
"""A batch's sequence and an item's index in it."""


class Receipts:
    """The callers that wait for a publisher's items, and the error that none has been told yet.

    Attributes:
        left_open: How many items were undelivered when a cancelled block was left. The log tells
            the result, since no caller waits for it any more.
    """

    def __init__(self, workflow_id: str) -> None:
        """Begin with nobody waiting; ``workflow_id`` is for the log."""
        self.left_open = 0
        self._workflow_id = workflow_id
        self._waiting: dict[asyncio.Future[Placed], int] = {}
        self._untold: PublishError | None = None
        self._told: PublishError | None = None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for an item that is neither taken nor given up."""
        return any(not taken.done() for taken in self._waiting)

    def expect(self, number: int) -> asyncio.Future[Placed]:
        """Register a caller that waits for item ``number``, to be passed to :meth:`received`."""
        taken: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()
        self._waiting[taken] = number
        return taken

    async def received(self, taken: asyncio.Future[Placed]) -> Placed:
        """Wait until an expected item is taken; return its batch and its place in it.

        Raises:
            PublishError: It is given up.
        """
        try:
            return await taken
        except PublishError as error:
            self._told = error
            if self._untold is error:
                self._untold = None
            raise
        except asyncio.CancelledError:
            # An error may have come just before the cancellation; it has to reach somebody else.
            late = taken.exception() if taken.done() and not taken.cancelled() else None
            if isinstance(late, PublishError) and late is not self._told:
                self._keep(late)
            raise
        finally:
            self._waiting.pop(taken, None)

    def settle(self, batch: Outgoing) -> None:
        """Tell callers that wait for items of ``batch`` or earlier ones that these are taken."""
        settled = batch.last_index + 1
        first = settled - len(batch.entries)
        for taken, number in self._waiting.items():
            if number < settled and not taken.done():
                taken.set_result((batch.sequence, number - first))

    def fail(self, error: PublishError) -> None:
        """Tell all who wait that their items are given up; keep the error if nobody does."""
        waiting = [taken for taken in self._waiting if not taken.done()]
        for taken in waiting:
            taken.set_exception(error)
        if not waiting:
            self._keep(error)

    def raise_untold(self) -> None:
        """Raise the error that nobody has been told yet, if there is one."""
        if self._untold is not None:
            error, self._untold = self._untold, None
            raise error

    def note_untold(self, leaving: BaseException) -> bool:
        """Note that error, if there is one, on the exception that leaves a block; tell whether."""
        if self._untold is None:
            return False
        leaving.add_note(str(self._untold))
        self._untold = None
        return True

    def sending_ended(self) -> None:
        """Log that what was left open has been delivered, unless an error says otherwise."""
        if self.left_open and self._untold is None:
            logger.info(
                "Workflow %r: %d item(s) were delivered after a cancelled block had been left",
                self._workflow_id,
                self.left_open,
            )
        self.left_open = 0

    def _keep(self, error: PublishError) -> None:
        self._untold = error
        logger.error("%s", error)
