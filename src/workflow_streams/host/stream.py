"""The workflow's side of a stream. Runs in the workflow sandbox, so it imports little.

What the workflow publishes becomes a history event at once (a memo upsert): its place among the
workflow's commands must not depend on how a replay groups what comes in. The copy of the log kept
here serves clients that poll; readers of this package follow the history instead.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeVar, overload

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from ..arguments import check_count, is_whole
from ..errors import UsageError
from ..log import wire
from ..log.batches import batches_of
from ..log.entries import entries_bytes
from ..log.fold import Accepted, Fold, Malformed
from ..log.intake import Intake
from ..log.records import record_payload
from ..log.wire import Closing, Entry, Opening, Record, Rules, RunRef
from ..log.wire import WorkflowStreamState as State
from ..topics import TopicTypes
from . import hand_over, memo_room
from .first_task import FirstTask
from .own_writes import Operation, OwnWrites
from .polled_log import PolledLog
from .polls import A_MOMENT, PollServer
from .run_sign import RunKind, RunSign
from .signalling import in_flight_here
from .topic import WorkflowTopicHandle

T = TypeVar("T")

DEFAULT_PUBLISHER_TTL = timedelta(minutes=15)

# What clients that poll can reach back to within a run. It bounds the worker's memory, where it is
# packed. Streams made over HTTP are read there, and nearly never polled.
_LOG_BYTES = 64 * 1024 * 1024
_UNPOLLED_HOSTED_LOG_BYTES = 4 * 1024 * 1024
# The memo is part of each description of the workflow and of each row of a list of them. A larger
# record is followed by a second one. For an opening record this value alone decides whether that
# command is given, so with another value runs that are under way would not replay.
_MEMO_BYTES = 16 * 1024

# Server limits per run are 10,000 signals and 2,000 Updates; roll over well before.
_ROLLOVER_SIGNALS = 8_000
_LAST_ROLLOVER_SIGNALS = 9_500
# Room for the largest body over HTTP, 22 MiB encoded; at 40 MiB publishers stop (see pacing.py).
_LAST_ROLLOVER_BYTES = 32 * 1024 * 1024
_ROLLOVER_POLLS = 1_500
# The fragments of a batch are sent one right after the other. When so many events have come since
# the last one, nobody is likely to send the rest.
_FRAGMENT_EVENTS = 500
# How many items for clients that poll are packed in one workflow task, which has 2 s in all.
_PACKED_ITEMS = 50_000
# For how many runs without a poll items are still handed on, for subscribers that are away.
_UNPOLLED_RUNS = 2
# The server takes 4 MiB in one message, and ends a workflow whose task brings more. Beside 64 KiB
# for everything else, this is half of it, enough for the largest item. The other half is for
# answers to polls (see workflow_polls.py) and for other workflows' streams (see signalling.py).
_TASK_BYTES = 2016 * 1024
# What a record adds to its items in that message.
_RECORD_OVERHEAD = 256
# How long a rollover is held up for subscribers that poll and are behind.
_CATCH_UP = timedelta(seconds=5)

_NO_MESSAGE = RawValue(Payload())


def _any_arguments(handler: Callable[..., None]) -> Callable[..., None]:
    """Have the handler of the publish signal take any arguments: none, unless there is just one.

    The SDK reads the signature for its types, but calls with whatever came; a TypeError in a
    handler would stop the workflow for good. And where the workflow has a dynamic signal handler,
    the SDK takes arguments for that if the signal comes before the stream is there.
    """

    @functools.wraps(handler)
    def tolerant(stream: WorkflowStream, *arguments: Any) -> None:
        if len(arguments) == 2 and _are_raw(arguments[1]):
            arguments = tuple(arguments[1])
        handler(stream, *arguments if len(arguments) == 1 else ())

    return tolerant


def _are_raw(argument: Any) -> bool:
    return isinstance(argument, list) and bool(argument) and isinstance(argument[0], RawValue)


class WorkflowStream:
    """A durable stream hosted by the current workflow.

    Construct it once::

        @workflow.init
        def __init__(self, input: OrderInput) -> None:
            self.stream = WorkflowStream(prior_state=input.stream_state)
            self.status = self.stream.topic("status", type=StatusEvent)

    Items are published by :meth:`topic` handles, by activities and by outside services.
    """

    def __init__(
        self,
        prior_state: State | None = None,
        *,
        keep_last: int | None = None,
        _rules: Rules | None = None,
    ) -> None:
        """Open the stream in this run.

        Args:
            prior_state: What :meth:`get_state` or :meth:`continue_as_new` handed over; None on
                a first start.
            keep_last: Keep only the newest ``keep_last`` items (a ring buffer). Default: all.
                Ignored, with a warning, in a run that began under the contrib.

        Raises:
            UsageError: Outside ``@workflow.init``, or for the second time in a workflow.
            ValueError: ``keep_last`` is not positive, or no int.
            ApplicationError: Type ``MemoFullError``: the run's first record does not fit beside the
                workflow's own memo.
        """
        check_count("keep_last", keep_last)
        # In @workflow.init no workflow coroutine runs yet; everywhere else one does.
        if not workflow.in_workflow() or asyncio.current_task() is not None:
            raise UsageError(
                "WorkflowStream must be constructed directly from the workflow's @workflow.init "
                "method"
            )
        if workflow.get_signal_handler(wire.PUBLISH_SIGNAL) is not None:
            raise UsageError(
                "A WorkflowStream is already registered on this workflow; construct it once"
            )

        self._rules = _rules
        self._types = TopicTypes()
        self._signals = self._records = 0
        self._handed_over_at = 0
        self._fragment_at = self._packed_at = self._to_pack = 0
        self._task_bytes = self._task_bytes_at = 0
        self._opened_at = workflow.info().get_current_history_length()
        self._own = OwnWrites()
        self._sign = RunSign()
        self._first = FirstTask(self._judge, self._sign.declared_handlers)
        # A run that began under the contrib goes on without history records: they would
        # not replay.
        self._native = self._sign.kind is not RunKind.CONTRIB
        state = prior_state or State()
        carried = self._restore(memo_room.fitting(state) if self._native else state, keep_last)
        self._polls = PollServer(
            self._fold,
            self._log,
            functools.partial(self._settle, now=True),
            native=self._native,
        )
        self._open(carried)

        workflow.set_signal_handler(wire.PUBLISH_SIGNAL, self._on_publish)
        self._polls.register()
        self._beside = self._start_beside()
        self._sign.list_first(self._beside)

    def _restore(self, state: State, keep_last: int | None) -> list[Entry]:
        """Take over the prior run's state; return what it left for this run to record."""
        entries, start = hand_over.entries_of(state)
        self._last_seen: dict[str, datetime] = {
            publisher_id: p.last_seen for publisher_id, p in state.publishers.items()
        }
        sequences = {publisher_id: p.sequence for publisher_id, p in state.publishers.items()}
        self._runs = list(state.runs)
        self._malformed_before = state.malformed
        self._unpolled_runs = state.unpolled_runs if state.tail else _UNPOLLED_RUNS
        head = start + len(entries) if state.head is None else state.head
        base = start if state.base is None else state.base
        carried: list[Entry] = []
        if self._native and state.head is None:
            # A contrib-style run before: its items stand in no history, so they go into ours,
            # with the opening record, ahead of what has been signalled before the first task.
            carried, entries, head = entries, [], start
        self._log = PolledLog(entries, start)
        self._first_offset = head
        ring = keep_last if self._native else None
        closing = hand_over.closing_of(state)
        self._fold = Fold(
            head,
            base,
            sequences,
            ring,
            fences=self._native,
            closable=self._rules is not None and self._rules.closable,
            order=state.order,
            written=hand_over.written_of(state),
            closed_by=None if closing is None else (closing.publisher_id, closing.sequence),
        )
        self._closing = closing
        self._intake = Intake(self._fold)
        self._keep_last = keep_last
        return carried

    def _open(self, carried: list[Entry]) -> None:
        if not self._native:
            return
        fold = self._fold
        opening = Opening(
            head=fold.head,
            base=fold.base,
            publishers=fold.publishers,
            runs=self._runs,
            keep_last=self._keep_last,
            rules=self._rules,
            order=fold.order,
            written=fold.written,
            closed=self._closed_by(),
        )
        self._record(fold.base, carried, opening)
        if carried:
            fold.own(len(carried))
            self._append(carried)

    def _closed_by(self) -> Closing | None:
        """What closed the stream, in this run or an earlier one."""
        if self._closing is None and self._fold.closed_by is not None:
            self._closing = Closing(*self._fold.closed_by, workflow.info().run_id)
        return self._closing

    def _start_beside(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._beside_handlers(), name="workflow stream")

    async def _beside_handlers(self) -> None:
        """Do what is due whenever all that was ready in a task has run, which is told here."""
        await workflow.wait_condition(self._handlers_have_run)

    def _handlers_have_run(self) -> bool:
        self._first.end()
        if self._sign.has_begun:
            self._record_rest()
        self._pack()
        return False

    @overload
    def topic(self, name: str) -> WorkflowTopicHandle[Any]: ...
    @overload
    def topic(self, name: str, *, type: type[T]) -> WorkflowTopicHandle[T]: ...

    def topic(
        self, name: str, *, type: type[T] | None = None
    ) -> WorkflowTopicHandle[T] | WorkflowTopicHandle[Any]:
        """Return the handle to publish to topic ``name``.

        Args:
            name: Topic name.
            type: Type of the topic's values; omit it for a topic of mixed values.

        Raises:
            TopicTypeError: The name is bound to another type (a RuntimeError).
            UsageError: ``type`` is ``Payload``; ready payloads may be published on any topic.
        """
        return WorkflowTopicHandle(self, name, self._types.bind(name, type))

    @property
    def head(self) -> int:
        """Offset the next item gets, as far as this workflow task knows.

        In the first task of a run, a handler sees the stream as it was before the task, up to its
        first ``await`` that yields, such as ``await asyncio.sleep(0)``; so it is with all that the
        stream shows.
        """
        self._settle()
        return self._fold.head + self._own.count

    @property
    def base(self) -> int:
        """Lowest retained offset."""
        self._settle()
        base = max(self._fold.base, self._own.base)
        if self._fold.keep_last is not None and self._own.count:
            base = max(base, self._fold.head + self._own.count - self._fold.keep_last)
        return base

    @property
    def closed(self) -> bool:
        """Whether a writer has closed the stream; only streams written over HTTP let them."""
        self._settle()
        return self._fold.closed

    @property
    def malformed(self) -> int:
        """Publish signals that were ignored, as their argument is no batch.

        Counted over this run and those before it, as far as each handed its state on.
        """
        self._settle()
        return self._malformed_before + self._fold.malformed

    @property
    def signal_count(self) -> int:
        """How many publish signals this run has taken, whatever became of them."""
        return self._signals

    @property
    def rollover_due(self) -> bool:
        """Whether the run nears a server limit and should continue-as-new."""
        self._settle()
        due = (
            workflow.info().is_continue_as_new_suggested()
            or self._signals >= _ROLLOVER_SIGNALS
            or self._polls.count >= _ROLLOVER_POLLS
        )
        # A batch that has come half-way would be torn; its rest may never come, though.
        info = workflow.info()
        last = (
            self._signals >= _LAST_ROLLOVER_SIGNALS
            or info.get_current_history_size() >= _LAST_ROLLOVER_BYTES
            or info.get_current_history_length() - self._fragment_at > _FRAGMENT_EVENTS
        )
        return due and (last or not self._intake.waiting)

    def truncate(self, up_to_offset: int) -> None:
        """Drop the items below ``up_to_offset``; a reader that stands there gets a ``Gap``.

        Raises:
            ApplicationError: Type ``TruncateOutOfRange``: the offset is past the head, or no int.
                (Not a ValueError: raised in an update handler it fails the update, not the task.)
                Type ``TaskFullError`` or ``MemoFullError``, as for publishing.
        """
        self._check_may_write()
        if not is_whole(up_to_offset):
            raise ApplicationError(
                f"Cannot truncate to offset {up_to_offset!r}: it is no whole number",
                type=wire.TRUNCATE_OUT_OF_RANGE,
            )
        if up_to_offset <= self.base or self._is_handed_over():
            return
        if up_to_offset > self.head:
            raise ApplicationError(
                f"Cannot truncate to offset {up_to_offset}: the stream holds "
                f"[{self.base}, {self.head})",
                type=wire.TRUNCATE_OUT_OF_RANGE,
            )
        self._check_room()
        self._sign.list_later()
        self._record_rest()
        self._record(up_to_offset)
        self._own.truncate(up_to_offset)
        self._append_at_once()

    def get_state(self, *, publisher_ttl: timedelta = DEFAULT_PUBLISHER_TTL) -> State:
        """Return the snapshot to hand to the next run as ``prior_state``.

        Args:
            publisher_ttl: Publishers idle for longer are forgotten. Must be longer than the
                ``max_retry_duration`` of any publisher that may still be retrying.
        """
        self._settle()
        fold, head = self._fold, self.head
        run_id = workflow.info().run_id
        publishers, written = hand_over.sources_kept(
            fold,
            self._last_seen,
            {run_id, *(run.run_id for run in self._runs)},
            now=workflow.now(),
            ttl=publisher_ttl,
        )
        self._handed_over_at = workflow.info().get_current_history_length()
        if not self._native:
            log = hand_over.whole_log(self._log.entries_from(0) + self._own.entries)
            return State(log, head - len(log), publishers, malformed=self.malformed)
        runs = [*self._runs, RunRef(run_id, self._first_offset)]
        runs = hand_over.runs_kept(runs, head, self.base)
        closed = hand_over.closed_text(self._closed_by())
        room = hand_over.tail_room(publishers, runs, fold.order, written, closed)
        tail = ""
        if self._is_polled:
            needed = self._log.bytes_from(self._polls.needed_after_task())
            room = min(room, max(needed, hand_over.TAIL_BYTES))
            tail = hand_over.tail_text(self._log.newest(room) + self._own.entries, room)
        return State(
            base_offset=head,
            publishers=publishers,
            head=head,
            runs=runs,
            base=self.base,
            order=fold.order,
            malformed=self.malformed,
            tail=tail,
            unpolled_runs=0 if self._polls.count else self._unpolled_runs + 1,
            written=written,
            closed=closed,
        )

    def detach_pollers(self) -> None:
        """Let waiting polls return and refuse new ones, before continue-as-new.

        Only clients that poll notice; publishes still arrive.
        """
        self._polls.detaching = True

    async def continue_as_new(
        self,
        build_args: Callable[[State], Sequence[Any]],
        *,
        publisher_ttl: timedelta = DEFAULT_PUBLISHER_TTL,
    ) -> NoReturn:
        """Roll over: detach pollers, let handlers finish, continue as a new run.

        What the workflow has published to other streams (:class:`ExternalWorkflowStream`) arrives
        first.

        Args:
            build_args: Given the state, returns the next run's arguments.
            publisher_ttl: As for :meth:`get_state`.

        Raises:
            ApplicationError: Type ``PublishError``: what was published to another stream did not
                arrive.
        """
        if self._sign.kind is RunKind.FLAGGED:
            await self._let_subscribers_catch_up()
        self.detach_pollers()
        await workflow.wait_condition(workflow.all_handlers_finished)
        # Once the state is taken, the run must end in the same task.
        external = in_flight_here().streams
        while any(stream.is_sending for stream in external):
            for stream in list(external):
                await stream.flush()
            await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(args=build_args(self.get_state(publisher_ttl=publisher_ttl)))

    async def _let_subscribers_catch_up(self) -> None:
        """Wait, for a while, until what polling subscribers still need can be carried along."""
        until = workflow.now() + _CATCH_UP
        while self._polls.count:
            if not self._fits(self._polls.needed_from()):
                with suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: self._fits(self._polls.needed_from()),
                        timeout=until - workflow.now(),
                    )
            # What has been answered so far arrives if the run ends in a later task.
            self._polls.next_moment()
            await workflow.sleep(A_MOMENT)
            if workflow.now() >= until or self._fits(self._polls.needed_after_moment()):
                break

    def _fits(self, needed_from: int) -> bool:
        self._settle()
        return self._log.bytes_from(needed_from) <= hand_over.SURE_TAIL_BYTES

    def _publish(self, entries: list[Entry]) -> None:
        self._check_may_write()
        if self._is_handed_over():
            return
        self._check_room(entries)
        self._settle()
        self._sign.list_later()
        if self._beside.done():  # cancelled by code that cancels all tasks there are
            self._beside = self._start_beside()
        length = workflow.info().get_current_history_length()
        flagged = self._sign.kind is RunKind.FLAGGED
        parts = self._own.to_record(entries, length) if flagged else batches_of(entries)
        for part in parts:
            self._record(self._truncated, part)
        self._own.publish(entries)
        self._append_at_once()

    def _is_handed_over(self) -> bool:
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

    def _check_room(self, entries: Sequence[Entry] = ()) -> None:
        """Raise if a workflow task would bring more than the server takes, or fill the memo."""
        if not self._native:
            return
        size = entries_bytes(entries)
        if self._brought(0) + size > _TASK_BYTES:
            raise ApplicationError(
                f"One workflow task can write {_TASK_BYTES:,} bytes to the stream; it has written "
                f"{self._task_bytes:,}, and {size:,} more are too many. Let it end in between, as "
                "by `await workflow.sleep(0.001)`",
                type="TaskFullError",
                non_retryable=True,
            )
        memo_room.check_items(entries)
        self._brought(size)

    def _brought(self, size: int) -> int:
        """Count what is written in the current workflow task; return how much it is so far."""
        length = workflow.info().get_current_history_length()
        if length != self._task_bytes_at:
            self._task_bytes, self._task_bytes_at = 0, length
        self._task_bytes += size
        return self._task_bytes

    @property
    def _is_polled(self) -> bool:
        """Whether there are subscribers that poll, or have been not long ago."""
        return bool(self._polls.count) or self._unpolled_runs < _UNPOLLED_RUNS

    @property
    def _truncated(self) -> int:
        """The base as records have it, which count a ring buffer's moves by themselves."""
        return max(self._fold.base, self._own.base)

    def _record_rest(self) -> None:
        for part in self._own.take_unrecorded():
            self._record(self._truncated, part)

    def _append_at_once(self) -> None:
        if not self._native:
            # The contrib does, and its readers have seen that order.
            self._settle(now=True)

    def _check_may_write(self) -> None:
        if workflow.unsafe.is_read_only():
            raise workflow.ReadOnlyContextError(
                "A query or an update validator must not write to the stream"
            )

    def _record(
        self, base: int, entries: Sequence[Entry] = (), opening: Opening | None = None
    ) -> None:
        if self._native:
            ring = self._keep_last is not None
            payload = record_payload(Record(base, list(entries), opening, ring))
            self._brought(_RECORD_OVERHEAD)
            if opening is not None:
                memo_room.check_opening(payload.ByteSize())
                # It leaves so much less to polls, and only then less to what the task publishes.
                self._brought(self._polls.take_room(len(payload.data)))
            workflow.upsert_memo({wire.MEMO_KEY: RawValue(payload)})
            large = len(payload.data) > _MEMO_BYTES
            if opening is not None:
                follows = large and self._sign.kind is RunKind.FLAGGED
            else:
                self._records += 1
                follows = self._sign.is_followed(self._records, large=large)
            if follows:
                # Another one takes its place in the memo.
                small = record_payload(Record(base, ring=ring))
                workflow.upsert_memo({wire.MEMO_KEY: RawValue(small)})

    @_any_arguments
    def _on_publish(self, message: RawValue = _NO_MESSAGE) -> None:
        # Raw and untyped: with many signals in one activation, decoding every item would
        # run into the SDK's deadlock check of 2 s.
        payload = message.payload if message is not _NO_MESSAGE else None
        self._polls.on_arrival()
        if self._first.over or self._opened_at != workflow.info().get_current_history_length():
            self._first.end()
            self._sign.list_later()
            self._settle()
            self._judge(payload)
        else:
            self._first.collect(payload)

    def _on_offset(self) -> int:
        # As the contrib calls it; frameworks built on that use it.
        return self.head

    def _judge(self, message: Payload | None) -> None:
        self._signals += 1
        judged = self._intake.take(message)
        if judged is None:
            self._fragment_at = workflow.info().get_current_history_length()
            return
        if isinstance(judged.verdict, Accepted):
            if judged.publisher_id:
                self._last_seen[judged.publisher_id] = workflow.now()
            self._append(judged.entries)
        elif isinstance(judged.verdict, Malformed) and self._fold.malformed == 1:
            workflow.logger.warning(
                "A publish signal is ignored, as its argument is no batch; more of this run are "
                "counted only (WorkflowStream.malformed)"
            )

    # The log in memory

    def _settle(self, *, now: bool = False) -> None:
        """Bring the log up to what may be seen; with ``now``, all handlers of the task have run.

        In history a task's own publishes stand after all signals that the task handles. So
        they are held until the history has moved on, or until something reads the log after
        all handlers of the task have run.
        """
        self._first.release()
        self._own.settle(workflow.info().get_current_history_length(), self._apply, now=now)

    def _apply(self, operation: Operation) -> None:
        if isinstance(operation, int):
            self._fold.truncate(operation)
            self._trim()
        else:
            self._fold.own(len(operation))
            self._append(operation)

    def _append(self, entries: list[Entry]) -> None:
        self._log.extend(entries)
        self._trim()
        self._pack()

    def _pack(self) -> None:
        length = workflow.info().get_current_history_length()
        if length != self._packed_at:
            self._packed_at, self._to_pack = length, _PACKED_ITEMS
        self._to_pack -= self._log.pack(self._to_pack)

    def _trim(self) -> None:
        self._log.drop_below(self._fold.base)
        if self._native:
            spare = self._rules is not None and not self._is_polled
            self._log.bound(_UNPOLLED_HOSTED_LOG_BYTES if spare else _LOG_BYTES)
        elif self._keep_last is not None and not workflow.unsafe.is_replaying():
            # Said here, since such a run is being replayed when it opens.
            self._keep_last = None
            workflow.logger.warning(
                "keep_last is ignored until the next run: this one began under the contrib"
            )
