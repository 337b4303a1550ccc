"""Publishing to another workflow's stream from workflow code. Runs in the workflow sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar, overload

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import WithSerializationContext, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError

from ...arguments import text_argument
from ...errors import BufferFullError, PublishError, UsageError
from ...log import wire
from ...log.entries import entries_bytes
from ...log.publisher_ids import Attempt, WorkflowPublisher, short
from ...log.wire import Entry
from ...topics import TopicTypes, TypedTopic
from ..topic import encode, failure
from .signalling import MAX_IN_FLIGHT_BYTES, Signalling, check_not_evicted, in_flight_here

T = TypeVar("T")

_MAX_WAITING_BYTES = 8 * 1024 * 1024


class ExternalWorkflowStream:
    """The stream of another workflow, such as the parent, to publish to from workflow code.

    It is used in a block::

        @workflow.run
        async def run(self, order_id: str) -> None:
            async with ExternalWorkflowStream.of_parent() as parent:
                status = parent.topic("status", type=str)
                status.publish("packing")
                await workflow.execute_activity(...)
                status.publish("packed")

    The end of the block waits until the server has taken all items. The first item goes out at
    once, as a signal to that workflow; what is published until it is taken goes along in the next
    one. A signal costs this workflow two history events and a task, and counts in the other one's
    run as any publish does. So a workflow that publishes for long continues as new when
    ``workflow.info().is_continue_as_new_suggested()``.

    All streams of a workflow together send 960 KiB at a time. If the other workflow's run has had
    all 10,000 signals that a run may have, the batch is tried again for 10 minutes.

    When this workflow is retried, readers of the stream get a :class:`Rewind` over what the failed
    run wrote, with this workflow's id as ``activity_id``, as soon as the block is entered. Where it
    continues as new or is started again by its cron schedule, what it wrote stands. Readers are not
    told of an operator's reset: what was published after the reset point stays in the stream, and
    is followed by what the code publishes when it runs again.

    Workflow code cannot find out whether the other workflow hosts a stream: if it hosts none, the
    signals are taken and nobody reads them. It has to be in the same namespace.
    """

    def __init__(self, workflow_id: str) -> None:
        """Prepare to publish to the stream of ``workflow_id``.

        Raises:
            UsageError: Outside of a workflow.
            ApplicationError: Type ``UsageError``: there is no id, it is no text, or it is this
                workflow's own.
        """
        if not workflow.in_workflow():
            raise UsageError(
                "ExternalWorkflowStream is for workflow code; elsewhere use WorkflowStreamClient"
            )
        info = workflow.info()
        if workflow_id != "":
            try:
                text_argument("workflow_id", workflow_id)
            except UsageError as err:
                raise failure(err) from None
        if workflow_id in ("", info.workflow_id):
            raise failure(
                UsageError(
                    f"Workflow {info.workflow_id!r} cannot publish to {workflow_id!r} as to "
                    "another workflow's stream. Its own is a WorkflowStream"
                )
            )
        self._workflow_id = workflow_id
        self._types = TopicTypes()
        self._open = False
        run_id, before = info.run_id, info.continued_run_id or ""
        begun = int(info.workflow_start_time.timestamp() * 1_000_000)
        publisher = WorkflowPublisher(
            info.first_execution_run_id,
            short(info.workflow_id),
            Attempt(max(0, begun), info.attempt),
            run_id[-12:],
            before[-12:],
        )
        # A retry announces itself at once. So does any other later run, so that what was written
        # before it stands.
        self._announces = info.attempt > 1 or bool(before)
        publisher_id = publisher.publisher_id(workflow.uuid4().hex[:8])
        self._signals = Signalling(workflow_id, publisher_id)

    @classmethod
    def of_parent(cls) -> Self:
        """Return the stream of the workflow that has started this one as its child.

        Raises:
            ApplicationError: Type ``UsageError``: there is no parent.
        """
        info = workflow.info()
        if info.parent is None:
            raise failure(
                UsageError(
                    f"Workflow {info.workflow_id!r} has no parent whose stream it could publish to"
                )
            )
        return cls(info.parent.workflow_id)

    @property
    def workflow_id(self) -> str:
        """Id of the workflow that hosts the stream."""
        return self._workflow_id

    @property
    def is_open(self) -> bool:
        """Whether the block is entered. A handler that may run before that waits for it."""
        return self._open

    async def __aenter__(self) -> Self:
        """Begin to publish.

        Raises:
            UsageError: It is entered already.
        """
        if self._open:
            raise UsageError("This ExternalWorkflowStream is entered already")
        self._open = True
        in_flight_here().streams.append(self)
        if self._announces:
            self._announces = False
            self._signals.announce()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until the server has taken all items.

        It also does so when the block ends by an exception, by a cancellation or in order to
        continue as new.

        Raises:
            ApplicationError: Type ``PublishError``: some items were not delivered. When the block
                itself has failed, its exception carries this as a note instead, and the log has it.
            UsageError: Items wait, and the state of the workflow's own stream has been taken
                already. Call :meth:`flush` before, or ``WorkflowStream.continue_as_new``.
        """
        continues = isinstance(exc, workflow.ContinueAsNewError)
        hosts = workflow.get_signal_handler(wire.PUBLISH_SIGNAL) is not None
        if continues and hosts and self.is_sending:
            # What came in while this waits would be lost to the next run.
            raise UsageError(
                "Items for another workflow's stream wait, and the state of the own one has been "
                "taken. Await flush() before get_state(), or use WorkflowStream.continue_as_new()"
            )
        try:
            # A handler may publish meanwhile.
            while self.is_sending:
                await self._signals.settled()
            self._raise_lost()
        except ApplicationError as err:
            if exc is None or continues:
                raise
            exc.add_note(str(err))
            workflow.logger.error("%s", err)
        except asyncio.CancelledError:
            check_not_evicted()
            lost, _ = self._signals.take_lost()
            if untold := lost + self._signals.items:
                workflow.logger.error(
                    "%d item(s) for the stream of workflow %r may not have been delivered",
                    untold,
                    self._workflow_id,
                )
            raise
        finally:
            self._open = False
            streams = in_flight_here().streams
            streams[:] = [stream for stream in streams if stream is not self]

    @overload
    def topic(self, name: str) -> ExternalTopicHandle[Any]: ...
    @overload
    def topic(self, name: str, *, type: type[T]) -> ExternalTopicHandle[T]: ...

    def topic(
        self, name: str, *, type: type[T] | None = None
    ) -> ExternalTopicHandle[T] | ExternalTopicHandle[Any]:
        """Return the handle to publish to topic ``name``.

        Args:
            name: Topic name.
            type: Type of the topic's values; omit it for a topic of mixed values.

        Raises:
            TopicTypeError: The name is bound to another type (a RuntimeError).
            UsageError: ``type`` is ``Payload``; ready payloads may be published on any topic.
        """
        return ExternalTopicHandle(name, self._types.bind(name, type), self._publish)

    @property
    def is_sending(self) -> bool:
        """Whether something is on its way that the server has not taken yet."""
        return self._signals.waiting > 0

    async def flush(self) -> None:
        """Wait until the server has taken everything published so far.

        Raises:
            ApplicationError: Type ``PublishError``: some items were not delivered, since the other
                workflow has ended or does not exist, or its run takes no more signals. They have
                been dropped; ``details`` holds their number. What is published from now on is sent
                again.
        """
        await self._signals.settled()
        self._raise_lost()

    def _publish(self, values: Sequence[object], topic: str) -> None:
        if workflow.unsafe.is_read_only():
            raise workflow.ReadOnlyContextError(
                "A query or an update validator must not publish to a stream"
            )
        if not self._open:
            raise UsageError(
                "Publish to another workflow's stream within `async with`: its end waits until all "
                "items are there. A handler that may run before waits until `is_open`"
            )
        self._raise_lost()
        entries = self._encoded(topic, values)
        size = entries_bytes(entries)
        if self._signals.waiting_bytes + size > _MAX_WAITING_BYTES:
            _fail(
                BufferFullError(
                    self._workflow_id,
                    f"{self._signals.waiting_bytes:,} bytes wait to be sent, and {size:,} more "
                    f"would be over the limit of {_MAX_WAITING_BYTES:,}; await flush() in between",
                )
            )
        if entries:
            self._signals.publish(entries)

    def _encoded(self, topic: str, values: Sequence[object]) -> list[Entry]:
        converter = workflow.payload_converter()
        if isinstance(converter, WithSerializationContext):
            # Readers decode in the context of the workflow that hosts the stream.
            context = WorkflowSerializationContext(workflow.info().namespace, self._workflow_id)
            converter = converter.with_context(context)
        return encode(topic, values, converter, MAX_IN_FLIGHT_BYTES)

    def _raise_lost(self) -> None:
        lost, reason = self._signals.take_lost()
        if lost and reason is not None:
            _fail(PublishError(self._workflow_id, lost, reason), lost, cause=reason)


class ExternalTopicHandle(TypedTopic[T]):
    """Publishes to one topic of another workflow's stream, from workflow code."""

    def __init__(
        self, name: str, type: type[T], publish: Callable[[Sequence[T | Payload], str], None]
    ) -> None:
        """Bind topic and type; use :meth:`ExternalWorkflowStream.topic` instead."""
        super().__init__(name, type)
        self._publish = publish

    def publish(self, value: T | Payload) -> None:
        """Publish one value. It is on its way at once, or with the next signal.

        A ready ``Payload`` passes through as it is.

        Raises:
            UsageError: The stream's block has not been entered, or has been left.
            ApplicationError: Type ``EncodeError``; ``ItemTooLargeError``, over 960 KiB encoded;
                ``BufferFullError``, 8 MiB wait to be sent; or ``PublishError``: earlier items were
                not delivered (see :meth:`ExternalWorkflowStream.flush`), and this one is not taken.
        """
        self._publish([value], self._name)

    def publish_many(self, values: Sequence[T | Payload]) -> None:
        """Publish several values, in one signal per 448 KiB.

        All of them are taken or, with an error as for :meth:`publish`, none.
        """
        self._publish(values, self._name)


def _fail(error: Exception, *details: Any, cause: Exception | None = None) -> NoReturn:
    # An application error fails the workflow; any other would have its task retried for ever.
    raise ApplicationError(str(error), *details, type=type(error).__name__) from cause
