"""A rollover: when it is due, what it waits for, and what the run hands over.

Runs in the workflow sandbox.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import workflow

from ..log.wire import Closing, RunRef
from ..log.wire import WorkflowStreamState as State
from . import hand_over
from .external.signalling import in_flight_here
from .hand_over import EarlierRuns
from .log_copy import LogCopy
from .log_order import LogOrder
from .polling.polls import PollServer
from .run_sign import RunKind, RunSign
from .tasks import A_MOMENT

DEFAULT_PUBLISHER_TTL = timedelta(minutes=15)

# Server limits per run are 10,000 signals and 2,000 Updates; roll over well before.
_ROLLOVER_SIGNALS = 8_000
_LAST_ROLLOVER_SIGNALS = 9_500
# It leaves room for the largest body over HTTP, 22 MiB encoded: at 40 MiB publishers stop (see
# publish/pacing.py).
_LAST_ROLLOVER_BYTES = 32 * 1024 * 1024
_ROLLOVER_POLLS = 1_500
# The fragments of a batch are sent one right after the other. When so many events have come since
# the last one, the rest is not likely to be sent any more.
_FRAGMENT_EVENTS = 500
# How long a rollover waits for subscribers that poll and are behind: for the next step of any of
# them, and in all.
_CATCH_UP = timedelta(seconds=10)
_LONGEST_CATCH_UP = timedelta(minutes=1)


class Rollover:
    """Ends the run by continue-as-new, and hands the stream over to the next run.

    Attributes:
        earlier: What the prior run has told of those before this one.
    """

    def __init__(
        self,
        earlier: EarlierRuns,
        copy: LogCopy,
        order: LogOrder,
        polls: PollServer,
        sign: RunSign,
    ) -> None:
        """Make it before the run has taken in anything: its first offset is the head now."""
        self.earlier = earlier
        self._copy = copy
        self._order = order
        self._polls = polls
        self._sign = sign
        self._first_offset = copy.fold.head
        self._handed_over_at = 0

    @property
    def due(self) -> bool:
        """Whether the run nears a limit of the server."""
        self._order.settle()
        info = workflow.info()
        due = (
            info.is_continue_as_new_suggested()
            or self._order.signals >= _ROLLOVER_SIGNALS
            or self._polls.count >= _ROLLOVER_POLLS
        )
        # A batch that has come half-way would be torn; its rest may never come, though.
        last = (
            self._order.signals >= _LAST_ROLLOVER_SIGNALS
            or info.get_current_history_size() >= _LAST_ROLLOVER_BYTES
            or self._order.events_since_fragment > _FRAGMENT_EVENTS
        )
        return due and (last or not self._order.has_fragment)

    @property
    def malformed(self) -> int:
        """How many malformed signals this run and those before it have had."""
        self._order.settle()
        return self.earlier.malformed + self._copy.fold.malformed

    def is_over(self) -> bool:
        """Whether the run continues as new, so that nothing more can be written to it."""
        length = workflow.info().get_current_history_length()
        gone = length == self._handed_over_at and (
            self._sign.continues_as_new
            or isinstance(sys.exc_info()[1], workflow.ContinueAsNewError)
        )
        if gone and not workflow.unsafe.is_replaying():
            workflow.logger.warning(
                "What is written to a stream after its workflow has continued as new is lost"
            )
        return gone

    def state(self, publisher_ttl: timedelta) -> State:
        """Return what is handed to the next run.

        Args:
            publisher_ttl: Publishers that have been idle for longer are forgotten.
        """
        head, base = self._order.head, self._order.base
        log, fold, own = self._copy.log, self._copy.fold, self._order.own
        run_id = workflow.info().run_id
        publishers, written = hand_over.writers_kept(
            fold,
            self._order.last_seen,
            {run_id, *(run.run_id for run in self.earlier.runs)},
            now=workflow.now(),
            ttl=publisher_ttl,
        )
        self._handed_over_at = workflow.info().get_current_history_length()
        if not self._sign.native:
            items = hand_over.whole_log(log.entries_from(0) + own.entries)
            return State(items, head - len(items), publishers, malformed=self.malformed)
        runs = [*self.earlier.runs, RunRef(run_id, self._first_offset)]
        runs = hand_over.runs_kept(runs, head, base)
        closed = hand_over.closed_text(self._closing)
        room = hand_over.tail_room(publishers, runs, fold.order, written, closed)
        tail = ""
        if self._copy.polled:
            needed = log.bytes_from(self._polls.subscribers.needed_after_task(), room)
            room = min(room, max(needed, hand_over.TAIL_BYTES))
            tail = hand_over.tail_text(log.newest(room) + own.entries, room)
        return State(
            base_offset=head,
            publishers=publishers,
            head=head,
            runs=runs,
            base=base,
            order=fold.order,
            malformed=self.malformed,
            tail=tail,
            unpolled_runs=0 if self._polls.count else self.earlier.unpolled + 1,
            written=written,
            closed=closed,
            subscribers=self._polls.subscribers.handed_over(),
        )

    @property
    def _closing(self) -> Closing | None:
        """What closed the stream, in this run or an earlier one."""
        if self.earlier.closing is None and self._copy.fold.closed_by is not None:
            return Closing(*self._copy.fold.closed_by, workflow.info().run_id)
        return self.earlier.closing

    async def continue_as_new(
        self, build_args: Callable[[State], Sequence[Any]], publisher_ttl: timedelta
    ) -> NoReturn:
        """Continue as new once nothing of this run is under way any more.

        Args:
            build_args: Given the state, returns the next run's arguments.
            publisher_ttl: As for :meth:`state`.

        Raises:
            ApplicationError: Type ``PublishError``: what was published to another stream did not
                arrive.
        """
        if self._sign.kind is RunKind.FLAGGED:
            await self._let_subscribers_catch_up()
        self._polls.detaching = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        # Once the state is taken, the run must end in the same task.
        external = in_flight_here().streams
        while any(stream.is_sending for stream in external):
            for stream in list(external):
                await stream.flush()
            await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(args=build_args(self.state(publisher_ttl)))

    async def _let_subscribers_catch_up(self) -> None:
        """Wait until what polling subscribers still need can be carried along.

        It waits for as long as they go on, up to a bound: of time, and of the history, to which
        each answer adds what it brings. The server ends a workflow at 50 MiB.
        """
        subscribers, began = self._polls.subscribers, workflow.now()
        while subscribers.any_known and not _is_large():
            steps = subscribers.steps
            if not self._fits(subscribers.needed_from()):
                with suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: _is_large() or self._fits(subscribers.needed_from()),
                        timeout=_CATCH_UP,
                    )
            # What has been answered so far arrives if the run ends in a later task.
            subscribers.next_round()
            await workflow.sleep(A_MOMENT)
            if self._fits(subscribers.needed_after_round()):
                break
            if subscribers.steps == steps or workflow.now() - began >= _LONGEST_CATCH_UP:
                break

    def _fits(self, needed_from: int) -> bool:
        self._order.settle()
        most = hand_over.SURE_TAIL_BYTES
        # What this task has written is not in the log yet.
        written = sum(hand_over.carried_bytes(*entry) for entry in self._order.own.entries)
        return written + self._copy.log.bytes_from(needed_from, most) <= most


def _is_large() -> bool:
    """Whether the history has come to where nothing is worth waiting for any more."""
    return workflow.info().get_current_history_size() >= _LAST_ROLLOVER_BYTES
