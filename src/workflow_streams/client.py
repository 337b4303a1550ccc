"""The client's side of a stream: publish to it, follow it, ask where its head is."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast, overload

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHandle

from .arguments import seconds_of, text_argument
from .errors import StreamClosedError, UsageError
from .events import LATEST, Event, Last, WorkflowStreamItem
from .log.publisher_ids import ActivityPublisher
from .publish.capture import current_capture
from .publish.failing_host import told_if_failing
from .publish.publisher import (
    DEFAULT_BATCH_INTERVAL,
    DEFAULT_MAX_BUFFER_BYTES,
    DEFAULT_MAX_BUFFER_ITEMS,
    DEFAULT_MAX_RETRY_DURATION,
    Publisher,
    patience_of,
)
from .publish.sink import SignalSink
from .publish.verdicts import head_past, offset_of, seen_by
from .read.arrival import wait_for_workflow
from .read.feeds.feed import Feed
from .read.feeds.lookup import feed_of, hold
from .read.options import ReadOptions, check_options
from .read.runs.source import WorkflowSource
from .read.starts import start_at
from .read.subscription import Subscription
from .read.tip import wait_whether_polled
from .read.until import until_of
from .temporal.attempts import publisher_of
from .temporal.codec import converter_of
from .temporal.interpreter_exit import rest_at_exit
from .temporal.values import Values
from .topic_handle import TopicHandle, Topics, names_of
from .topics import TopicTypes, types_in

T = TypeVar("T")


class WorkflowStreamClient:
    """Publishes to and reads the stream of one workflow.

    Publishing, from an activity or anywhere else::

        async with WorkflowStreamClient.create(client, workflow_id) as stream:
            stream.topic("progress", type=Progress).publish(Progress("half way"))

    Reading, with no worker needed::

        async for item in stream.subscribe(["progress"]):
            print(item.offset, item.data)
    """

    def __init__(
        self,
        handle: WorkflowHandle[Any, Any],
        *,
        client: Client | None = None,
        batch_interval: timedelta = DEFAULT_BATCH_INTERVAL,
        max_batch_size: int | None = None,
        max_retry_duration: timedelta = DEFAULT_MAX_RETRY_DURATION,
        max_buffer_items: int = DEFAULT_MAX_BUFFER_ITEMS,
        max_buffer_bytes: int = DEFAULT_MAX_BUFFER_BYTES,
        _activity: ActivityPublisher | None = None,
    ) -> None:
        """Make a client from a workflow handle; :meth:`create` is the usual way.

        Args:
            handle: The workflow that hosts the stream. One with a run id means that run and
                those after it.
            client: Client whose payload converter encodes and decodes values. Default: that of
                the handle.
            batch_interval: Shortest time between two batches of this client. The first item
                after a pause is sent at once, or, if other publishers of the process write to the
                same workflow just then, together with what they send next: at most one interval
                after their last. Default 100 ms.
            max_batch_size: Items at which a batch is sent without waiting. Default: by bytes.
            max_retry_duration: How long a batch is tried before :class:`PublishTimeoutError`,
                in all: from its first attempt, with what the SDK retries within one. At least
                1 s. Must be shorter than the workflow's ``publisher_ttl`` (15 minutes). Default
                10 minutes.
            max_buffer_items: Items that may wait to be sent. Default 500,000.
            max_buffer_bytes: Encoded bytes that may wait to be sent. Default 128 MiB.

        Raises:
            UsageError: An argument is not what it has to be.
        """
        text_argument("workflow_id", handle.id)
        self._handle = handle
        self._capture = current_capture() if _activity is not None else None
        self._client: Client = client or cast("Client", getattr(handle, "_client", None))
        if self._capture is None:
            rest_at_exit(self._client)
        self._converter = converter_of(self._client, handle.id).payload_converter
        self._types = TopicTypes()
        nonce = uuid.uuid4().hex[:8]
        self._publisher_id = (
            _activity.publisher_id(nonce) if _activity is not None else uuid.uuid4().hex[:16]
        )
        self._publisher = Publisher(
            self._capture or SignalSink(handle, patience=patience_of(max_retry_duration)),
            workflow_id=handle.id,
            publisher_id=self._publisher_id,
            converter=self._converter,
            batch_interval=batch_interval,
            max_batch_size=max_batch_size,
            max_retry_duration=max_retry_duration,
            max_buffer_items=max_buffer_items,
            max_buffer_bytes=max_buffer_bytes,
            announce=_activity is not None and _activity.attempt.number > 1,
        )

    @classmethod
    def create(
        cls,
        client: Client,
        workflow_id: str,
        *,
        batch_interval: timedelta = DEFAULT_BATCH_INTERVAL,
        max_batch_size: int | None = None,
        max_retry_duration: timedelta = DEFAULT_MAX_RETRY_DURATION,
        max_buffer_items: int = DEFAULT_MAX_BUFFER_ITEMS,
        max_buffer_bytes: int = DEFAULT_MAX_BUFFER_BYTES,
    ) -> Self:
        """Make a client for the stream of ``workflow_id``.

        Args:
            client: Temporal client.
            workflow_id: Workflow that hosts the stream.
            batch_interval: As for the constructor, and so are the others.
            max_batch_size: See the constructor.
            max_retry_duration: See the constructor.
            max_buffer_items: See the constructor.
            max_buffer_bytes: See the constructor.
        """
        return cls(
            client.get_workflow_handle(workflow_id),
            client=client,
            batch_interval=batch_interval,
            max_batch_size=max_batch_size,
            max_retry_duration=max_retry_duration,
            max_buffer_items=max_buffer_items,
            max_buffer_bytes=max_buffer_bytes,
        )

    @classmethod
    def from_within_activity(
        cls,
        *,
        batch_interval: timedelta = DEFAULT_BATCH_INTERVAL,
        max_batch_size: int | None = None,
        max_retry_duration: timedelta = DEFAULT_MAX_RETRY_DURATION,
        max_buffer_items: int = DEFAULT_MAX_BUFFER_ITEMS,
        max_buffer_bytes: int = DEFAULT_MAX_BUFFER_BYTES,
        workflow_id: str | None = None,
    ) -> Self:
        """Make a client for the stream of the workflow that runs this activity, or of another.

        When the activity is retried, readers get a :class:`Rewind` over what the failed
        attempt wrote, and late writes of that attempt are dropped. That holds for another
        workflow's stream, too, also if that one has rolled over between the attempts.

        Args:
            batch_interval: As for the constructor, and so are the others.
            max_batch_size: See the constructor.
            max_retry_duration: See the constructor.
            max_buffer_items: See the constructor.
            max_buffer_bytes: See the constructor.
            workflow_id: Workflow that hosts the stream, such as the parent of the activity's own
                workflow. Default: the activity's own.

        Raises:
            UsageError: The activity was not started by a workflow, and no ``workflow_id`` is
                given (a RuntimeError).
        """
        info = activity.info()
        workflow_id = workflow_id or info.workflow_id
        if workflow_id is None:
            raise UsageError(
                "This activity has no parent workflow. Use from_within_activity(workflow_id=...) "
                "with the id of the workflow to publish to."
            )
        client = cast("Client", current_capture() or activity.client())
        return cls(
            client.get_workflow_handle(workflow_id),
            client=client,
            batch_interval=batch_interval,
            max_batch_size=max_batch_size,
            max_retry_duration=max_retry_duration,
            max_buffer_items=max_buffer_items,
            max_buffer_bytes=max_buffer_bytes,
            _activity=publisher_of(info),
        )

    async def __aenter__(self) -> Self:
        """Begin to send in the background."""
        await self._publisher.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Send what is buffered, then stop.

        A cancellation propagates, but what is buffered gets up to 5 s to arrive first. What did
        not arrive is noted on the exception. A second cancellation ends the wait at once, and so
        does a cancel scope of anyio, which cancels every wait. Then sending goes on in the
        background for those 5 s. The exception notes how many items that concerns, and the log
        says whether they arrived.

        Raises:
            PublishError: Some items were not delivered. When the block itself raised, its
                exception carries this as a note instead.
        """
        await self._publisher.stop(exc)

    @overload
    def topic(self, name: str) -> TopicHandle[Any]: ...
    @overload
    def topic(self, name: str, *, type: type[T]) -> TopicHandle[T]: ...

    def topic(self, name: str, *, type: type[T] | None = None) -> TopicHandle[T] | TopicHandle[Any]:
        """Return the handle of topic ``name``, to publish to it and to subscribe.

        Args:
            name: Topic name.
            type: Type of the topic's values. Subscriptions of this client decode to it. Default:
                the type that the topic has in this client, or gets later, else any.

        Raises:
            TopicTypeError: The name is bound to another type (a RuntimeError).
            UsageError: ``type`` is ``Payload``.
        """
        return TopicHandle(self, name, self._types.bind(name, type))

    async def flush(self) -> None:
        """Wait until the server has taken everything published so far, and the stream has it.

        The server takes what comes for a stream that has been closed, and the stream drops it. That
        can happen to streams made by :func:`create_stream` or PUT, so of those it is looked up
        whether they were open.

        When it is cancelled, nothing is lost: what has not been sent stays buffered.

        Raises:
            PublishError: Some items were not delivered; it counts them and says why.
        """
        await self._publisher.flush()

    @overload
    def subscribe(
        self,
        topics: Mapping[str, type[T]],
        from_offset: int | Last = ...,
        *,
        poll_cooldown: timedelta = ...,
        **options: Unpack[ReadOptions],
    ) -> Subscription[WorkflowStreamItem[T]]: ...
    @overload
    def subscribe(
        self,
        topics: Topics = ...,
        from_offset: int | Last = ...,
        *,
        result_type: type[T],
        poll_cooldown: timedelta = ...,
        **options: Unpack[ReadOptions],
    ) -> Subscription[WorkflowStreamItem[T]]: ...
    @overload
    def subscribe(
        self,
        topics: Topics = ...,
        from_offset: int | Last = ...,
        *,
        result_type: None = None,
        poll_cooldown: timedelta = ...,
        **options: Unpack[ReadOptions],
    ) -> Subscription[WorkflowStreamItem[Any]]: ...

    def subscribe(
        self,
        topics: Topics | Mapping[str, Any] = None,
        from_offset: int | Last = 0,
        *,
        result_type: Any = None,
        poll_cooldown: timedelta = timedelta(milliseconds=100),  # noqa: ARG002 (kept for compatibility)
        **options: Unpack[ReadOptions],
    ) -> Subscription[WorkflowStreamItem[Any]]:
        """Iterate over the items, as they come; ends when the stream does.

        Args:
            topics: A topic, several, or None for all. Names or handles, or a mapping of names to
                the types that their values decode to.
            from_offset: Where to start: an offset (0: the earliest retained item; past the
                head: waits), ``Last(n)``, or ``LATEST``.
            result_type: Type to decode to; ``RawValue`` for the raw payload. Default: the type
                that :meth:`topic` bound, else the converter's default.
            poll_cooldown: Ignored: nothing is polled. Kept for compatibility.
            **options: ``from_position``, ``until``, ``wait`` and ``max_outage``; see
                :class:`ReadOptions`.

        Returns:
            An async iterator; to leave it early, use it in ``async with``.

        Raises:
            InvalidOffsetError: The offset is negative or no integer, the position none that a
                reader was given, or ``until`` neither an offset nor ``LATEST``.
            UsageError: A type is ``Payload``, there are types in ``topics`` and a
                ``result_type``, or both an offset and a position are given.
            DecodeError: While iterating: an item does not decode; iteration may go on.
            StreamNotFoundError: At the first step: there is no such workflow, also not after
                ``wait``.
            ServerUnavailableError: The server cannot be reached. At the first step this comes at
                once, later on after ``max_outage``; iteration may go on.
            WorkflowStreamError: While iterating: the stream cannot be read.
        """
        check_options("subscribe", options)
        return self._subscription(topics, from_offset, result_type, options, items_only=True)

    @overload
    def follow(
        self,
        topics: Mapping[str, type[T]],
        from_offset: int | Last = ...,
        **options: Unpack[ReadOptions],
    ) -> Subscription[Event[T]]: ...
    @overload
    def follow(
        self,
        topics: Topics = ...,
        from_offset: int | Last = ...,
        *,
        result_type: type[T],
        **options: Unpack[ReadOptions],
    ) -> Subscription[Event[T]]: ...
    @overload
    def follow(
        self,
        topics: Topics = ...,
        from_offset: int | Last = ...,
        *,
        result_type: None = None,
        **options: Unpack[ReadOptions],
    ) -> Subscription[Event[Any]]: ...

    def follow(
        self,
        topics: Topics | Mapping[str, Any] = None,
        from_offset: int | Last = 0,
        *,
        result_type: Any = None,
        **options: Unpack[ReadOptions],
    ) -> Subscription[Event[Any]]:
        """Iterate over the full story: ``Item | Gap | Rewind | End``; ``End`` comes last.

        A reading that stops at ``until`` has an ``End`` only if that stands before it. Takes what
        :meth:`subscribe` takes and raises what it raises::

            async for event in stream.follow():
                match event:
                    case Item(): ...
                    case Gap(start, end): ...
                    case Rewind(ranges): ...
                    case End(outcome): ...

        With several topics, types tell them apart, for type checkers, too::

            async for event in stream.follow({"delta": TextDelta, "status": Status}):
                match event:
                    case Item(data=TextDelta(text=text)): ...
                    case Item(data=Status() as status): ...
        """
        check_options("follow", options)
        return self._subscription(topics, from_offset, result_type, options, items_only=False)

    async def get_offset(self) -> int:
        """Return the stream's head: the offset that the next item gets.

        Counts at least what this client has flushed. Needs no worker.
        """
        if self._capture is not None:
            return self._capture.head
        feed = await hold(self._source(), LATEST)
        try:
            seen = seen_by(feed, self._publisher_id, self._publisher.acknowledged)
            return await head_past(feed, self._handle, seen)
        finally:
            feed.release()

    def _publish(self, topic: str, value: Any, *, force_flush: bool) -> None:
        self._publisher.publish(topic, value, force_flush=force_flush)

    async def _publish_wait(self, topic: str, value: Any, *, force_flush: bool) -> None:
        await self._publisher.publish_wait(topic, value, force_flush=force_flush)

    async def _send(self, topic: str, value: Any) -> int:
        if self._capture is not None:
            number = self._publisher.publish(topic, value, force_flush=True)
            sequence, index = await self._publisher.delivered(number)
            return self._capture.offset_of(self._publisher_id, sequence, index, self._handle.id)
        feed = self._feed()
        feed.retain(LATEST)
        try:
            async with told_if_failing(feed, self._handle):
                return await self._send_to(feed, topic, value)
        finally:
            feed.release()

    async def _send_to(self, feed: Feed, topic: str, value: Any) -> int:
        with feed.mailbox.watched(self._publisher_id, self._publisher.acknowledged) as verdicts:
            if await wait_whether_polled(feed):
                raise UsageError(
                    "send() needs a stream hosted by workflow_streams, whose history tells "
                    "the offset; on this one use publish() and flush()"
                )
            number = self._publisher.publish(topic, value, force_flush=True)
            sequence, index = await self._publisher.delivered(number)
            batch = (self._publisher_id, sequence)
            try:
                offset = await offset_of(feed, self._handle, verdicts, batch, index)
            except StreamClosedError:
                self._publisher.landing.told(sequence, landed=False)
                raise
            self._publisher.landing.told(sequence, landed=True)
            return offset

    def _arrival(self, wait: timedelta) -> Callable[[], Awaitable[bool]]:
        handle, seconds = self._handle, seconds_of("wait", wait)
        return lambda: wait_for_workflow(self._client, handle.id, handle.run_id, seconds)

    def _feed(self) -> Feed:
        if self._capture is not None:
            raise UsageError("What is captured for a test is not read as a stream")
        return feed_of(self._source())

    def _source(self) -> WorkflowSource:
        return WorkflowSource(self._client, self._handle.id, self._handle.run_id)

    def _subscription(
        self,
        topics: Topics | Mapping[str, Any],
        from_offset: int | Last,
        result_type: Any,
        options: ReadOptions,
        *,
        items_only: bool,
    ) -> Subscription[Any]:
        types = self._types
        if isinstance(topics, Mapping):
            if result_type is not None:
                raise UsageError("Give types in topics= or as result_type=, not both.")
            types = types_in(topics)
            topics = list(topics)
        elif result_type is Payload:
            raise UsageError("Nothing decodes to result_type=Payload; use result_type=RawValue")
        wait, max_outage = options.get("wait"), options.get("max_outage")
        return Subscription(
            self._feed,
            names_of(topics),
            start_at(from_offset, options.get("from_position")),
            types.decoder(Values(self._converter), result_type),
            items_only=items_only,
            until=until_of(options.get("until")),
            arrival=None if wait is None else self._arrival(wait),
            max_outage=None if max_outage is None else seconds_of("max_outage", max_outage),
        )
