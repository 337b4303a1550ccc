"""The workflow's side of a stream. Runs in the workflow sandbox, so it imports little.

What the workflow publishes becomes a history event at once (a memo upsert). The copy of the
log kept here serves clients that poll; readers of this package follow the history instead.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeVar, overload

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from . import wire
from .errors import UsageError
from .fold import Accepted, Fold, Malformed
from .intake import Intake
from .polled_log import PolledLog
from .topics import TopicTypes
from .wire import (
    Entry,
    Opening,
    PublisherState,
    Record,
    Rules,
    RunRef,
)
from .wire import WorkflowStreamState as State
from .workflow_polls import PollServer
from .workflow_topic import WorkflowTopicHandle

T = TypeVar("T")

DEFAULT_PUBLISHER_TTL = timedelta(minutes=15)

# What polling clients can reach back to within a run, and across a rollover. The first bounds
# the worker's memory; the second keeps the state well under the SDK's 512 KiB warning.
_LOG_BYTES = 64 * 1024 * 1024
_STATE_LOG_BYTES = 256 * 1024
_MAX_RUN_REFS = 500

# Server limits per run are 10,000 signals and 2,000 Updates; roll over well before.
_ROLLOVER_SIGNALS = 8_000
_LAST_ROLLOVER_SIGNALS = 9_500
# Room for the largest body over HTTP, 22 MiB encoded; at 40 MiB publishers stop (see pacing.py).
_LAST_ROLLOVER_BYTES = 32 * 1024 * 1024
_ROLLOVER_POLLS = 1_500


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
            ValueError: ``keep_last`` is not positive.
        """
        # In @workflow.init no workflow coroutine runs yet; everywhere else one does.
        if not workflow.in_workflow() or asyncio.current_task() is not None:
            raise UsageError("WorkflowStream must be constructed in the @workflow.init method")
        if workflow.get_signal_handler(wire.PUBLISH_SIGNAL) is not None:
            raise UsageError("This workflow has a WorkflowStream already; construct it once")
        if keep_last is not None and keep_last < 1:
            raise ValueError(f"keep_last must be at least 1, not {keep_last}")

        self._rules = _rules
        self._types = TopicTypes()
        self._signals = 0
        # Own publishes and truncations of the current workflow task, see _settle.
        self._held: list[list[Entry] | int] = []
        self._held_count = 0
        self._held_at = 0

        # A run that began under the contrib goes on without history records: they would
        # not replay.
        self._native = workflow.patched(wire.PATCH_ID)
        carried = self._restore(prior_state or State(), keep_last)
        self._open(carried)

        workflow.set_signal_handler(wire.PUBLISH_SIGNAL, self._tolerant_on_publish())
        self._polls = PollServer(self._fold, self._log, functools.partial(self._settle, now=True))
        self._polls.register()

    def _restore(self, state: State, keep_last: int | None) -> list[Entry]:
        """Take over the prior run's state; return what it left for this run to record."""
        entries: list[Entry] = [(item.topic, item.data) for item in state.log]
        self._last_seen: dict[str, datetime] = {
            publisher_id: p.last_seen for publisher_id, p in state.publishers.items()
        }
        sequences = {publisher_id: p.sequence for publisher_id, p in state.publishers.items()}
        self._runs = list(state.runs)
        self._malformed_before = state.malformed
        head = state.base_offset + len(state.log) if state.head is None else state.head
        base = state.base_offset if state.base is None else state.base
        carried: list[Entry] = []
        if self._native and state.head is None:
            # A contrib-style run before: its items stand in no history, so they go into ours,
            # with the opening record, ahead of what has been signalled before the first task.
            carried, entries, head = entries, [], state.base_offset
        self._log = PolledLog(entries, state.base_offset)
        self._first_offset = head
        ring = keep_last if self._native else None
        self._fold = Fold(
            head,
            base,
            sequences,
            ring,
            fences=self._native,
            closable=self._rules is not None and self._rules.closable,
            order=state.order,
        )
        self._intake = Intake(self._fold)
        self._keep_last = keep_last
        return carried

    def _open(self, carried: list[Entry]) -> None:
        if not self._native:
            return
        fold = self._fold
        opening = Opening(
            fold.head,
            fold.base,
            fold.publishers,
            self._runs,
            self._keep_last,
            self._rules,
            fold.order,
        )
        self._record(fold.base, carried, opening)
        fold.own(len(carried))
        self._append(carried)

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
        """Offset the next item gets, as far as this workflow task knows."""
        self._settle()
        return self._fold.head + self._held_count

    @property
    def base(self) -> int:
        """Lowest retained offset."""
        self._settle()
        return max([self._fold.base, *(op for op in self._held if isinstance(op, int))])

    @property
    def closed(self) -> bool:
        """Whether a writer has closed the stream; only streams written over HTTP let them."""
        return self._fold.closed

    @property
    def malformed(self) -> int:
        """Publish signals that were ignored, as their argument is no batch.

        Counted over this run and those before it, as far as each handed its state on.
        """
        return self._malformed_before + self._fold.malformed

    @property
    def rollover_due(self) -> bool:
        """Whether the run nears a server limit and should continue-as-new."""
        due = (
            workflow.info().is_continue_as_new_suggested()
            or self._signals >= _ROLLOVER_SIGNALS
            or self._polls.count >= _ROLLOVER_POLLS
        )
        # A batch that has come half-way would be torn; its rest may never come, though.
        last = (
            self._signals >= _LAST_ROLLOVER_SIGNALS
            or workflow.info().get_current_history_size() >= _LAST_ROLLOVER_BYTES
        )
        return due and (last or not self._intake.waiting)

    def truncate(self, up_to_offset: int) -> None:
        """Drop the items below ``up_to_offset``; a reader that stands there gets a ``Gap``.

        Raises:
            ApplicationError: Type ``TruncateOutOfRange``: the offset is past the head. (Not a
                ValueError: raised in an update handler it fails the update, not the task.)
        """
        if up_to_offset <= self.base:
            return
        if up_to_offset > self.head:
            raise ApplicationError(
                f"Cannot truncate to offset {up_to_offset}: the stream holds "
                f"[{self.base}, {self.head})",
                type=wire.TRUNCATE_OUT_OF_RANGE,
            )
        self._record(up_to_offset)
        self._hold(up_to_offset)

    def get_state(self, *, publisher_ttl: timedelta = DEFAULT_PUBLISHER_TTL) -> State:
        """Return the snapshot to hand to the next run as ``prior_state``.

        Args:
            publisher_ttl: Publishers idle for longer are forgotten. Must be longer than the
                ``max_retry_duration`` of any publisher that may still be retrying.
        """
        self._settle(now=True)
        fold, now = self._fold, workflow.now()
        publishers = {
            publisher_id: PublisherState(sequence, self._last_seen[publisher_id])
            for publisher_id, sequence in fold.publishers.items()
            if now - self._last_seen[publisher_id] < publisher_ttl
        }
        if not self._native:
            whole = [replace(item, offset=0) for item in self._log.tail(sys.maxsize)]
            return State(whole, self._log.start, publishers, malformed=self.malformed)
        log = self._log.tail(_STATE_LOG_BYTES)
        runs = [*self._runs, RunRef(workflow.info().run_id, self._first_offset)]
        ends = [run.first_offset for run in runs[1:]] + [fold.head]
        runs = [run for run, end in zip(runs, ends, strict=True) if end > fold.base]
        return State(
            log,
            fold.head - len(log),
            publishers,
            fold.head,
            runs[-_MAX_RUN_REFS:],
            fold.base,
            fold.order,
            self.malformed,
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

        Args:
            build_args: Given the state, returns the next run's arguments.
            publisher_ttl: As for :meth:`get_state`.
        """
        self.detach_pollers()
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(args=build_args(self.get_state(publisher_ttl=publisher_ttl)))

    def _publish(self, entries: list[Entry]) -> None:
        self._settle()
        start = size = 0
        for i, (topic, data) in enumerate(entries):
            # 24 bytes of JSON around each entry
            length = len(topic) + len(data) + 24
            if i > start and size + length > wire.MAX_BATCH_BYTES:
                self._record(self.base, entries[start:i])
                start, size = i, 0
            size += length
        if start < len(entries):
            self._record(self.base, entries[start:])
        self._hold(entries)

    def _hold(self, op: list[Entry] | int) -> None:
        self._held.append(op)
        self._held_count += 0 if isinstance(op, int) else len(op)
        if not self._native:
            # The contrib appends at once, and its readers have seen that order.
            self._settle(now=True)

    def _record(
        self, base: int, entries: Sequence[Entry] = (), opening: Opening | None = None
    ) -> None:
        if self._native:
            record = Record(base, list(entries), opening, ring=self._keep_last is not None)
            workflow.upsert_memo({wire.MEMO_KEY: RawValue(wire.record_payload(record))})

    def _tolerant_on_publish(self) -> Callable[..., None]:
        """Return the handler in a form that takes a wrong number of arguments, too.

        The SDK reads the signature for its types, but calls with whatever came; a TypeError
        in a handler would stop the workflow for good.
        """

        @functools.wraps(self._on_publish)
        def handler(*arguments: RawValue) -> None:
            self._take(arguments[0].payload if len(arguments) == 1 else None)

        return handler

    def _on_publish(self, message: RawValue) -> None:
        # Raw and untyped: with many signals in one activation, decoding every item would
        # run into the SDK's deadlock check of 2 s.
        self._take(message.payload)

    def _take(self, message: Payload | None) -> None:
        self._settle()
        self._signals += 1
        judged = self._intake.take(message)
        if judged is None:
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
        """Append what earlier workflow tasks published; with ``now``, this task's as well.

        In history a task's own publishes stand after all signals that the task handles. So
        they are held until the history has moved on, or until something reads the log after
        all handlers of the task have run.
        """
        length = workflow.info().get_current_history_length()
        if self._held and (now or length != self._held_at):
            for op in self._held:
                if isinstance(op, int):
                    self._fold.truncate(op)
                    self._trim()
                else:
                    self._fold.own(len(op))
                    self._append(op)
            self._held = []
            self._held_count = 0
        self._held_at = length

    def _append(self, entries: list[Entry]) -> None:
        self._log.extend(entries)
        self._trim()

    def _trim(self) -> None:
        self._log.drop_below(self._fold.base)
        if self._native:
            self._log.bound(_LOG_BYTES)
        elif self._keep_last is not None and not workflow.unsafe.is_replaying():
            # Said here, since such a run is being replayed when it opens.
            self._keep_last = None
            workflow.logger.warning(
                "keep_last is ignored until the next run: this one began under the contrib"
            )
