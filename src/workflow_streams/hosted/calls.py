"""The life of a hosted stream, as calls: make it, close it, delete it.

In between, a ``WorkflowStreamClient`` writes and reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from ..arguments import is_whole, seconds_of, text_argument, topic_name
from ..errors import EncodeError, InvalidOffsetError, StreamNotHostedError, UsageError
from ..log.entries import AT_ONCE, entry_of
from ..log.media_types import JSON_TYPE, media_type
from ..log.packed import PackedEntries, Packer, pack
from ..log.positions import LARGEST_OFFSET
from ..log.wire import Entry
from ..temporal.codec import converter_of
from ..temporal.link import ClientLink
from ..temporal.values import Values
from .appends import Append, append, content_payload, in_bounds
from .deleting import delete
from .fork_point import ForkPoint
from .forks import ForkSource, found_source
from .host import HOST_TASK_QUEUE, HostSetup
from .making import fault_of, fault_of_expiry, forked, make
from .streams import Hosting, found

_TOPIC = "default"


@dataclass(frozen=True, slots=True)
class CreatedStream:
    """A stream that :func:`create_stream` has made, or that was there just as it was asked for.

    Attributes:
        name: Its name, which is its workflow's id.
        is_new: Whether it was not there before.
        position: Its head when it was made or found, for ``from_position``.
        closed: Whether it is closed.
    """

    name: str
    is_new: bool
    position: str
    closed: bool


async def create_stream(
    client: Client,
    name: str,
    *,
    content_type: str | None = None,
    ttl: timedelta | None = None,
    expires_at: datetime | None = None,
    forked_from: str | None = None,
    fork_offset: int | None = None,
    closed: bool = False,
    initial: Iterable[Any] = (),
    topic: str = _TOPIC,
    task_queue: str = HOST_TASK_QUEUE,
) -> CreatedStream:
    """Make a stream that needs no workflow of yours, or see that it is there.

    A worker for such streams has to run: that of a gateway, or :func:`run_host_worker`. Another
    call with the same arguments changes nothing, except that it finishes what an earlier call left
    unfinished.

    Args:
        client: Temporal client.
        name: The stream's name, which becomes its workflow's id.
        content_type: Media type of what it holds: JSON values, or bytes of any other type. Default:
            ``application/json``, or what the stream that it is forked from holds.
        ttl: It expires when it has been neither read over HTTP nor written for this long; whole
            seconds. Default: never, or that of the stream that it is forked from.
        expires_at: It expires at this time, which has a time zone and is yet to come; instead of
            ``ttl``.
        forked_from: Name of another such stream, of which this one begins with a copy.
        fork_offset: Up to which offset that stream is copied. Default: all that is there.
        closed: Whether it is closed at once, after what it begins with.
        initial: What it begins with; in a fork, after what is copied. Values for a stream of
            JSON, encoded by the client's payload converter; ``bytes`` for others.
        topic: Topic of ``initial``. Default: ``default``, as for writes over HTTP.
        task_queue: Task queue of the worker for such streams.

    Raises:
        UsageError: An argument is not what it has to be, or does not go with another one.
        EncodeError: A value of ``initial`` cannot be encoded.
        BatchTooLargeError: ``initial`` is more than can be written at once.
        StreamExistsError: There is another stream of this name; the error says what differs.
        StreamNotFoundError: The stream to be forked is not there, or not any more.
        StreamNotHostedError: The stream to be forked is that of a workflow of yours.
        ForkError: The stream cannot be forked.
        ForkOffsetError: The stream to be forked does not reach to ``fork_offset``.
        StreamNotOpenedError: No worker has opened the stream in time.
        StreamUnfinishedError: Another call has begun to make the stream with another ``initial``,
            and has not finished in time.
        ServerUnavailableError: Temporal does not answer.
    """
    topic = topic_name(topic)
    text_argument("name", name)
    text_argument("task_queue", task_queue)
    if content_type is not None and not isinstance(content_type, str):
        raise UsageError(f"content_type is a str, not {content_type!r}.")
    if forked_from is not None:
        text_argument("forked_from", forked_from)
    if forked_from is None and fork_offset is not None:
        raise UsageError("fork_offset goes with forked_from only.")
    if fork_offset is not None and not (is_whole(fork_offset) and fork_offset >= 0):
        raise InvalidOffsetError(fork_offset, "is not a whole number, at least 0")
    if fork_offset is not None and fork_offset > LARGEST_OFFSET:
        raise InvalidOffsetError(fork_offset, "is past the largest offset there is")
    if type(closed) is not bool:
        raise UsageError(f"closed is a bool, not {closed!r}.")
    ttl_seconds, expiry = _lifetime(ttl, expires_at)
    hosting = Hosting(ClientLink(client), task_queue)
    async with AsyncExitStack() as stack:
        source: ForkSource | None = None
        if forked_from is not None:
            looking = found_source(hosting, ForkPoint(forked_from, fork_offset), content_type)
            source = await stack.enter_async_context(looking)
            content_type = content_type or source.setup.content_type
        content_type = content_type or JSON_TYPE
        if (fault := fault_of(content_type)) is not None:
            raise UsageError(fault)
        entries = await _entries(client, name, initial, topic, content_type)
        setup = HostSetup(content_type, ttl_seconds, expiry, closed)
        if source is not None:
            setup = await forked(setup, source)
        made = await make(hosting, name, setup, entries, source)
    return CreatedStream(name, made.is_new, made.position, made.closed)


async def close_stream(client: Client, name: str) -> None:
    """Close a hosted stream: nothing can be written to it any more, and its readers get the end.

    A stream that is closed already stays so.

    Args:
        client: Temporal client.
        name: The stream's name.

    Raises:
        UsageError: The name is no text.
        StreamNotFoundError: There is no such stream, or not any more.
        StreamNotHostedError: It is that of a workflow of yours, and ends with its workflow.
        StreamNotOpenedError: No worker has opened the stream in time.
        StreamUnfinishedError: What it was made with has not all been written in time.
        ServerUnavailableError: Temporal does not answer.
    """
    text_argument("name", name)
    async with found(Hosting(ClientLink(client)), name) as stream:
        if stream.setup is None:
            raise StreamNotHostedError(name)
        async with stream.held():
            if not stream.running:
                await stream.feed.wait_known(lambda: stream.feed.done)
            await append(stream, Append(pack([]), close=True))


async def delete_stream(client: Client, name: str, *, task_queue: str = HOST_TASK_QUEUE) -> None:
    """Delete a hosted stream, with all that was written to it.

    Its name is free at once; a worker for such streams deletes its runs. If it has forks, its name
    stays taken until the last of them is gone, and it cannot be read any more.

    Args:
        client: Temporal client.
        name: The stream's name.
        task_queue: Task queue of the worker for such streams.

    Raises:
        UsageError: The name or the task queue is no text.
        StreamNotFoundError: There is no such stream, or not any more.
        StreamNotHostedError: It is that of a workflow of yours, and goes with its workflow.
        ServerUnavailableError: Temporal does not answer.
    """
    text_argument("name", name)
    text_argument("task_queue", task_queue)
    async with found(Hosting(ClientLink(client), task_queue), name) as stream:
        await delete(stream)


def _lifetime(ttl: timedelta | None, expires_at: datetime | None) -> tuple[int | None, str | None]:
    """Return a stream's time to live in seconds and when it expires, as its setup has them.

    Raises:
        UsageError: One is not what it has to be, or both are given.
    """
    if ttl is not None and expires_at is not None:
        raise UsageError("ttl and expires_at exclude each other.")
    if ttl is not None:
        seconds = seconds_of("ttl", ttl)
        if seconds < 1 or seconds % 1:
            raise UsageError(f"ttl is a whole number of seconds, at least 1, not {seconds:g}.")
        return int(seconds), None
    if expires_at is not None:
        if not isinstance(expires_at, datetime) or expires_at.tzinfo is None:
            raise UsageError(f"expires_at is a datetime with a time zone, not {expires_at!r}.")
        try:
            expiry = expires_at.astimezone(timezone.utc)
        except OverflowError:
            raise UsageError(f"expires_at is out of range in UTC: {expires_at}.") from None
        if (fault := fault_of_expiry(expiry)) is not None:
            raise UsageError(f"expires_at: {fault}")
        return None, expiry.isoformat()
    return None, None


async def _entries(
    client: Client, name: str, initial: Iterable[Any], topic: str, content_type: str
) -> PackedEntries:
    """Return what a stream begins with.

    Raises:
        UsageError: It is no iterable of values, or not of bytes though the stream holds bytes.
        EncodeError: The client's payload converter does not take a value.
        BatchTooLargeError: It is more than can be written at once.
    """
    if isinstance(initial, str | bytes) or not isinstance(initial, Iterable):
        raise UsageError("initial is several values, such as a list of them.")
    if media_type(content_type) != JSON_TYPE:
        return await _packed(entry_of(topic, _content(value)) for value in initial)
    values = Values(converter_of(client, name).payload_converter)

    def encoded(value: Any) -> Entry:
        try:
            return topic, *values.encode(value)
        except Exception as err:
            raise EncodeError(topic, value, err) from err

    return await _packed(map(encoded, initial))


async def _packed(entries: Iterable[Entry]) -> PackedEntries:
    """Pack entries as they are made, and let the event loop go on now and then."""
    packer = Packer()
    rest = in_bounds(entries)
    while some := list(islice(rest, AT_ONCE)):
        packer.add(some)
        await asyncio.sleep(0)
    return packer.packed()


def _content(value: Any) -> Payload:
    if not isinstance(value, bytes):
        raise UsageError(f"A stream of another type than JSON begins with bytes, not {value!r}.")
    return content_payload(value)
