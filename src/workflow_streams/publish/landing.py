"""What the server has taken of a publisher, until it is known to be in the stream.

For a stream that ends with its workflow it is enough that the server has taken a batch. A hosted
stream may have been closed before; then the items are lost, and somebody has to be told.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

from ..errors import PublishError, StreamClosedError, WorkflowStreamError
from .batcher import Outgoing
from .sink import Sink

logger = logging.getLogger("workflow_streams")

MOST_BATCHES = 1000
"""How many are noted. With so many the next one waits until it is known what became of them."""

_WHY = "the stream was closed before they came"


@dataclass(slots=True)
class _Taken:
    sequence: int
    items: int


class Landing:
    """Counts the items of the batches that the server has taken, until they are looked up."""

    def __init__(self, sink: Sink, workflow_id: str, publisher_id: str) -> None:
        """Begin with none."""
        self._sink = sink
        self._workflow_id = workflow_id
        self._publisher_id = publisher_id
        self._taken: deque[_Taken] = deque()

    @property
    def is_full(self) -> bool:
        """Whether there are so many that they have to be looked up before the next one."""
        return len(self._taken) >= MOST_BATCHES

    def add(self, batch: Outgoing) -> None:
        """Note a batch that the server has taken."""
        if batch.entries:
            self._taken.append(_Taken(batch.sequence, len(batch.entries)))

    def told(self, sequence: int, *, landed: bool) -> None:
        """Note that a caller has been told what became of its item in this batch."""
        if landed:
            self._drop_to(sequence)
            return
        for taken in self._taken:
            if taken.sequence == sequence:
                taken.items -= 1

    async def lost(self) -> tuple[int, int]:
        """Look up what became of the batches so far; return how many items are lost.

        The second number says how many of them may be in the stream all the same.
        """
        if not self._taken:
            return 0, 0
        last = self._taken[-1].sequence
        try:
            landed = await self._sink.last_landed(self._publisher_id, last)
        except WorkflowStreamError as err:
            # They are looked up again with the next ones, if there are any, and room for those.
            logger.warning(
                "Workflow %r has taken %d item(s), but it is not known whether its stream had been "
                "closed before: %s",
                self._workflow_id,
                sum(taken.items for taken in self._taken),
                err,
            )
            if self.is_full:
                self._taken.clear()
            return 0, 0
        self._drop_to(landed or 0)
        items = 0
        while self._taken and self._taken[0].sequence <= last:
            items += self._taken.popleft().items
        return items, (items if landed is None else 0)

    async def check(self) -> None:
        """Look up what became of the batches so far.

        Raises:
            PublishError: Some of them are not in the stream.
        """
        items, uncertain = await self.lost()
        if items:
            reason = self.closed()
            raise PublishError(self._workflow_id, items, reason, uncertain=uncertain) from reason

    def closed(self) -> StreamClosedError:
        """Return the reason for which items are lost."""
        return StreamClosedError(self._workflow_id, _WHY)

    def _drop_to(self, sequence: int) -> None:
        while self._taken and self._taken[0].sequence <= sequence:
            self._taken.popleft()
