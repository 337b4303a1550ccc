"""How much room a workflow task has for answers to polls. Runs in the workflow sandbox.

All answers that a workflow task gives go to the server in one message, together with what the
workflow publishes. The server takes 4 MiB in one message, and ends a workflow whose task brings
more. So the polls that are answered in the same task share a fixed part of it.

How much is left of that part must be the same in a replay, since the places of subscribers decide
when a rollover goes on. A replay may group tasks differently, so the part is whole again only when
a message arrives, or a timer fires, in a later task than the last answer. Until then a later task
may have less than it could, but never more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from temporalio import workflow

from ..external.signalling import MAX_IN_FLIGHT_BYTES, Signalling, in_flight_here
from ..tasks import A_MOMENT

# The answers of one task, together with what it sends to other workflows' streams. Half of what
# is left of 4 MiB beside 64 KiB for everything else; what the task itself publishes has the other
# half (see writing/task_room.py).
_ANSWERS_BYTES = 2016 * 1024


class AnswerRoom:
    """Counts what the answers of a workflow task take."""

    def __init__(self, *, native: bool) -> None:
        """Begin with all room free.

        Args:
            native: Whether what the workflow publishes stands in the history.
        """
        self._native = native
        self._taken = 0
        # How long the history was when the last answer was given, since the room was whole.
        self._answered_at: int | None = None

    def on_arrival(self) -> None:
        """Note that a message or a timer has come: if this is a later task, all room is free.

        The history's length alone does not decide, since it may have grown in a replay where it had
        not live, or the other way round. It only tells that no poll has been answered in this task
        before.
        """
        length = workflow.info().get_current_history_length()
        if self._answered_at is not None and length != self._answered_at:
            self._taken, self._answered_at = 0, None

    def take_for_answer(self, size: int) -> None:
        """Take room for an answer; it takes none if it has no items."""
        self._taken += size
        self._answered_at = workflow.info().get_current_history_length()

    def take_what_fits(self, size: int) -> int:
        """Take room for something else that the first task brings; return how much has none."""
        taken = min(size, self.left(large=False))
        self._taken += taken
        return size - taken

    def left(self, *, large: bool) -> int:
        """Return how much room is left.

        Args:
            large: Whether the room of other workflows' streams is held, too.
        """
        return max(0, self.whole(large=large) - self._taken)

    def whole(self, *, large: bool) -> int:
        """Return how much room there is when nothing of it is taken."""
        # In other runs, the workflow's own items are no commands and leave their room to the
        # streams of other workflows.
        return _ANSWERS_BYTES - (MAX_IN_FLIGHT_BYTES if self._native and not large else 0)


class Hold:
    """Holds all the room that streams of other workflows have in a task, for one large answer.

    It waits for its turn like a batch for such a stream, until nothing is in flight. It ends by a
    timer, which fires in a later task than the answer was given in, so each task has one at most.

    Attributes:
        held: Whether its turn has come.
        next_bytes: How much room it takes.
    """

    next_bytes = MAX_IN_FLIGHT_BYTES

    def __init__(self, on_next_task: Callable[[], None]) -> None:
        """Begin to wait.

        Args:
            on_next_task: Called in a later task, before the next one has its turn.
        """
        self.held = False
        self._is_over = False
        self._on_next_task = on_next_task
        self._in_flight = in_flight_here()
        self._in_flight.admit(cast("Signalling", self))

    def send(self) -> None:
        """Take the room. Called when there is room and the turn has come."""
        self.held = True
        if self._is_over:
            self._in_flight.settle(self.next_bytes)

    def end(self) -> None:
        """Give the room back in the next task, or give up waiting."""
        self._is_over = True
        if self.held:
            asyncio.get_running_loop().call_later(A_MOMENT, self._give_back)

    def _give_back(self) -> None:
        self._on_next_task()
        self._in_flight.settle(self.next_bytes)
