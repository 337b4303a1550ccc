"""The workflow's side of a stream. Runs in the workflow sandbox, so it imports little.

What the workflow publishes becomes a history event at once (a memo upsert): its place among the
workflow's commands must not depend on how a replay groups the messages that come in.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NoReturn, TypeVar, overload

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from ..arguments import check_count, is_whole
from ..errors import UsageError
from ..log import wire
from ..log.batches import batches_of
from ..log.wire import Entry, Opening, Rules
from ..log.wire import WorkflowStreamState as State
from ..topics import TopicTypes
from . import hand_over, log_copy, publish_signals
from .log_order import LogOrder
from .polling.polls import PollServer
from .rollover import DEFAULT_PUBLISHER_TTL, Rollover
from .run_sign import RunKind, RunSign
from .topic import WorkflowTopicHandle
from .writing import memo_room
from .writing.records import Records

T = TypeVar("T")


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
        if publish_signals.is_registered():
            raise UsageError(
                "A WorkflowStream is already registered on this workflow; construct it once"
            )

        self._types = TopicTypes()
        self._sign = RunSign()
        native = self._sign.native
        state = prior_state or State()
        if native:
            state = memo_room.fitting(state)
        earlier = hand_over.earlier_runs_of(state)
        self._copy, unrecorded = log_copy.restored(
            state, earlier, native=native, rules=_rules, keep_last=keep_last
        )
        last_seen = {name: publisher.last_seen for name, publisher in state.publishers.items()}
        self._order = LogOrder(self._copy, last_seen, self._sign)
        self._polls = PollServer(
            self._copy,
            functools.partial(self._order.settle, now=True),
            native=native,
            expected=earlier.subscribers,
        )
        self._rollover = Rollover(earlier, self._copy, self._order, self._polls, self._sign)
        self._records = Records(self._sign, ring=keep_last is not None)
        self._open(unrecorded, keep_last, _rules)

        publish_signals.register(self, self._on_publish)
        self._polls.register()
        self._beside = self._start_beside()
        self._sign.list_first(self._beside)

    def _open(self, unrecorded: list[Entry], keep_last: int | None, rules: Rules | None) -> None:
        fold, earlier = self._copy.fold, self._rollover.earlier
        opening = Opening(
            head=fold.head,
            base=fold.base,
            publishers=fold.publishers,
            runs=earlier.runs,
            keep_last=keep_last,
            rules=rules,
            order=fold.order,
            written=fold.written,
            closed=earlier.closing,
        )
        self._records.open(opening, unrecorded, take_elsewhere=self._polls.room.take_what_fits)
        if unrecorded:
            self._copy.apply(unrecorded)

    def _start_beside(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._beside_handlers(), name="workflow stream")

    async def _beside_handlers(self) -> None:
        """Have the SDK call :meth:`_handlers_have_run`, as it does with each condition."""
        await workflow.wait_condition(self._handlers_have_run)

    def _handlers_have_run(self) -> bool:
        """Do what is due when everything that was ready in a workflow task has run."""
        self._order.end_first_task()
        if self._sign.has_begun:
            self._record_rest()
        self._copy.pack()
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
        return self._order.head

    @property
    def base(self) -> int:
        """Lowest retained offset."""
        return self._order.base

    @property
    def closed(self) -> bool:
        """Whether a writer has closed the stream; only streams written over HTTP let them."""
        self._order.settle()
        return self._copy.fold.closed

    @property
    def malformed(self) -> int:
        """Publish signals that were ignored, as their argument is no batch.

        Counted over this run and those before it, as far as each handed its state on.
        """
        return self._rollover.malformed

    def last_sequence(self, publisher_id: str) -> int | None:
        """Return the number of a publisher's last batch in the stream; None if none is known."""
        self._order.settle()
        return self._copy.fold.publishers.get(publisher_id)

    @property
    def signal_count(self) -> int:
        """How many publish signals this run has taken, whatever became of them."""
        return self._order.signals

    @property
    def rollover_due(self) -> bool:
        """Whether the run nears a server limit and should continue-as-new."""
        return self._rollover.due

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
        if up_to_offset <= self.base or self._rollover.is_over():
            return
        if up_to_offset > self.head:
            raise ApplicationError(
                f"Cannot truncate to offset {up_to_offset}: the stream holds "
                f"[{self.base}, {self.head})",
                type=wire.TRUNCATE_OUT_OF_RANGE,
            )
        self._records.check_room()
        self._sign.list_later()
        self._record_rest()
        self._records.write(up_to_offset)
        self._order.own.truncate(up_to_offset)
        self._append_at_once()

    def get_state(self, *, publisher_ttl: timedelta = DEFAULT_PUBLISHER_TTL) -> State:
        """Return the snapshot to hand to the next run as ``prior_state``.

        Args:
            publisher_ttl: Publishers idle for longer are forgotten. Must be longer than the
                ``max_retry_duration`` of any publisher that may still be retrying.
        """
        return self._rollover.state(publisher_ttl)

    def detach_pollers(self) -> None:
        """Let waiting polls return, and refuse new ones, before continue-as-new.

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
        await self._rollover.continue_as_new(build_args, publisher_ttl)

    def _tell_pollers_end(self) -> None:
        """Have polls that wait for more of a closed stream fail, rather than wait for the workflow.

        What has been answered is in the history, so a run that has begun without this goes on so.
        """
        self._polls.tells_end = True

    def _publish(self, entries: list[Entry]) -> None:
        self._check_may_write()
        if self._rollover.is_over():
            return
        self._records.check_room(entries)
        self._order.settle()
        self._sign.list_later()
        if self._beside.done():  # cancelled by code that cancels all tasks there are
            self._beside = self._start_beside()
        own, length = self._order.own, workflow.info().get_current_history_length()
        flagged = self._sign.kind is RunKind.FLAGGED
        parts = own.to_record(entries, length) if flagged else batches_of(entries)
        for part in parts:
            self._records.write(self._order.recorded_base, part)
        own.publish(entries)
        self._append_at_once()

    def _record_rest(self) -> None:
        for part in self._order.own.take_unrecorded():
            self._records.write(self._order.recorded_base, part)

    def _append_at_once(self) -> None:
        if not self._sign.native:
            # The contrib does, and its readers have seen that order.
            self._order.settle(now=True)

    def _check_may_write(self) -> None:
        if workflow.unsafe.is_read_only():
            raise workflow.ReadOnlyContextError(
                "A query or an update validator must not write to the stream"
            )

    def _on_publish(self, message: Payload | None) -> None:
        self._polls.room.on_arrival()
        self._order.take(message)

    def _on_offset(self) -> int:
        # As the contrib calls it; frameworks built on that use it.
        return self.head
