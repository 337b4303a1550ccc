"""The client's handle of one topic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeAlias, TypeGuard, TypeVar, Unpack

from temporalio.api.common.v1 import Payload

from .arguments import topic_name
from .errors import UsageError
from .events import Event, Last, WorkflowStreamItem
from .read.options import ReadOptions
from .read.subscription import Subscription
from .topics import TypedTopic

T = TypeVar("T")


class Stream(Protocol):
    """What a handle publishes to and reads from: its client, of which it is a part."""

    def _publish(self, topic: str, value: Any, *, force_flush: bool) -> None: ...

    async def _publish_wait(self, topic: str, value: Any, *, force_flush: bool) -> None: ...

    async def _send(self, topic: str, value: Any) -> int: ...

    def subscribe(
        self,
        topics: Sequence[str],
        from_offset: int | Last,
        *,
        result_type: Any,
        poll_cooldown: timedelta,
        **options: Unpack[ReadOptions],
    ) -> Subscription[WorkflowStreamItem[Any]]:
        """Iterate over the items of topics."""
        ...

    def follow(
        self,
        topics: Sequence[str],
        from_offset: int | Last,
        *,
        result_type: Any,
        **options: Unpack[ReadOptions],
    ) -> Subscription[Event[Any]]:
        """Iterate over the story of topics."""
        ...


class TopicHandle(TypedTopic[T]):
    """One topic of a stream, to publish to and to subscribe to.

    Made by :meth:`WorkflowStreamClient.topic`.
    """

    def __init__(self, client: Stream, name: str, type: type[T]) -> None:
        """Bind client, topic and type; use :meth:`WorkflowStreamClient.topic` instead."""
        super().__init__(name, type)
        self._client = client

    def publish(self, value: T | Payload, *, force_flush: bool = False) -> None:
        """Encode ``value`` and buffer it for the next batch; does not wait.

        Batches are sent in the client's ``async with`` block, and while somebody awaits
        ``flush()`` or :meth:`send`. Elsewhere items stay in the buffer; if nothing sends them
        within 5 s, a warning in the log says so.

        Args:
            value: The value; a ready ``Payload`` passes through as it is.
            force_flush: In the block, send now rather than at the end of the batch interval.

        Raises:
            EncodeError: The value cannot be encoded.
            ItemTooLargeError: The encoded value is over the limit of nearly 2 MiB.
            BufferFullError: Too much waits already; :meth:`publish_wait` waits for room.
            PublishError: Earlier items were not delivered; this one was not taken.
            UsageError: Called outside the client's event loop.
        """
        self._client._publish(self._name, value, force_flush=force_flush)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    async def publish_wait(self, value: T | Payload, *, force_flush: bool = False) -> None:
        """Do what :meth:`publish` does, once there is room in the client's buffer.

        So a loop that publishes without a pause is slowed down to what the server takes, where
        :meth:`publish` would raise ``BufferFullError``. It waits for room only, not for the item
        itself to arrive, and works outside the ``async with`` block as well. When it is cancelled
        while it waits, the item is not published.

        Args:
            value: The value; a ready ``Payload`` passes through as it is.
            force_flush: In the block, send now rather than at the end of the batch interval.

        Raises:
            WorkflowStreamError: As for :meth:`publish`, other than ``BufferFullError``.
        """
        await self._client._publish_wait(self._name, value, force_flush=force_flush)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    async def send(self, value: T | Payload) -> int:
        """Publish ``value`` and wait until it stands in the history; return its offset.

        When it is cancelled, the item may arrive all the same. If the workflow is started anew
        later on, by a retry, cron or an operator's reset, the offset may be void.

        Raises:
            FencedError: A newer attempt of this activity publishes; the item was dropped.
            ServerUnavailableError: The stream could not be found yet; nothing was published.
            WorkflowStreamError: As for :meth:`publish`.
        """
        return await self._client._send(self._name, value)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def subscribe(
        self,
        from_offset: int | Last = 0,
        *,
        poll_cooldown: timedelta = timedelta(milliseconds=100),
        **options: Unpack[ReadOptions],
    ) -> Subscription[WorkflowStreamItem[T]]:
        """Iterate over this topic's items; see :meth:`WorkflowStreamClient.subscribe`."""
        return self._client.subscribe(
            [self._name],
            from_offset,
            result_type=self._result_type,
            poll_cooldown=poll_cooldown,
            **options,
        )

    def follow(
        self, from_offset: int | Last = 0, **options: Unpack[ReadOptions]
    ) -> Subscription[Event[T]]:
        """Iterate over this topic's story; see :meth:`WorkflowStreamClient.follow`."""
        return self._client.follow(
            [self._name], from_offset, result_type=self._result_type, **options
        )

    def has(self, event: object) -> TypeGuard[WorkflowStreamItem[T]]:
        """Whether an event is an item of this topic; type checkers then know the type of its data.

        It tells topics apart that have been followed together, also where they share a type::

            async for event in stream.follow([delta, status]):
                if delta.has(event):
                    print(event.data.text)

        The name decides, not the data. So the type is true of events that this handle's client
        decoded, without another ``result_type``.
        """
        return isinstance(event, WorkflowStreamItem) and event.topic == self._name

    @property
    def _result_type(self) -> Any:
        # Without a type of its own, the handle reads what the topic is bound to by then.
        return None if self._type is Any else self._type


Topics: TypeAlias = str | TopicHandle[Any] | Sequence[str | TopicHandle[Any]] | None
"""A topic, several, or None for all."""


def names_of(topics: Topics) -> list[str]:
    """Return the names of topics.

    Raises:
        UsageError: One of them is no str.
    """
    if topics is None:
        return []
    if isinstance(topics, (str, TopicHandle)):
        topics = [topics]
    if not isinstance(topics, Iterable):
        raise UsageError(f"topics are names or handles, not {topics!r}.")
    return [topic.name if isinstance(topic, TopicHandle) else topic_name(topic) for topic in topics]
