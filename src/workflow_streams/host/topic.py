"""The workflow's handle of one topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter
from temporalio.exceptions import ApplicationError

from ..errors import EncodeError, ItemTooLargeError
from ..log import wire
from ..log.entries import entry_bytes, entry_of
from ..log.wire import Entry
from ..topics import TypedTopic

T = TypeVar("T")


class Stream(Protocol):
    """What a handle publishes to: its stream, of which it is a part."""

    def _publish(self, entries: list[Entry]) -> None: ...


class WorkflowTopicHandle(TypedTopic[T]):
    """Publishes to one topic from workflow code. Made by :meth:`WorkflowStream.topic`."""

    def __init__(self, stream: Stream, name: str, type: type[T]) -> None:
        """Bind stream, topic and type; use :meth:`WorkflowStream.topic` instead."""
        super().__init__(name, type)
        self._stream = stream

    def publish(self, value: T | Payload) -> None:
        """Publish one value; it is in the history when this workflow task completes.

        Costs one history event; from the thousandth in a workflow task on, many share one. A ready
        ``Payload`` passes through as it is.

        Raises:
            ApplicationError: Type ``EncodeError``; ``ItemTooLargeError``; ``TaskFullError``: the
                workflow task has published 2016 KiB already, and with more the server would end the
                workflow; or ``MemoFullError``: it does not fit beside the workflow's own memo.
                (An application error fails the workflow; any other would have its task retried
                for ever.)
        """
        self._stream._publish(_encoded(self._name, [value]))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def publish_many(self, values: Sequence[T | Payload]) -> None:
        """Publish several values at the cost of one history event per 448 KiB.

        All of them are taken or, with an error as for :meth:`publish`, none.
        """
        self._stream._publish(_encoded(self._name, values))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _encoded(topic: str, values: Sequence[object]) -> list[Entry]:
    return encode(topic, values, workflow.payload_converter(), wire.MAX_ITEM_BYTES)


def encode(
    topic: str, values: Sequence[object], converter: PayloadConverter, limit: int
) -> list[Entry]:
    """Return the entries of values; ``limit`` is how many bytes one may take.

    Raises:
        ApplicationError: Type ``EncodeError`` or ``ItemTooLargeError``.
    """
    entries: list[Entry] = []
    for value in values:
        try:
            payload = value if isinstance(value, Payload) else converter.to_payload(value)
        except Exception as err:
            raise failure(EncodeError(topic, value, err)) from err
        entry = entry_of(topic, payload)
        size = entry_bytes(*entry)
        if size > limit:
            raise failure(ItemTooLargeError(topic, size, limit))
        entries.append(entry)
    return entries


def failure(error: Exception) -> ApplicationError:
    """Return what fails the workflow; any other error would have its task retried for ever."""
    return ApplicationError(str(error), type=type(error).__name__, non_retryable=True)
