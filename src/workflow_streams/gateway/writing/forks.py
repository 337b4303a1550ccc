"""Forks: streams that begin with a copy of another (Durable Streams 4.2).

What is inherited is copied when the fork is made, so that it lives by itself and is read like
any other. The source's host counts its forks; with forks left, a deleted source says 410.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress

from starlette.requests import Request
from temporalio.client import WorkflowUpdateFailedError

from ...errors import RequestRejectedError, StreamClosedError, StreamNotFoundError
from ...events import Gap
from ...hosted.host import (
    DELETE_UPDATE,
    FORK_GONE_SIGNAL,
    FORK_UPDATE,
    FORKS_MEMO_KEY,
    TOO_MANY_FORKS,
    HostSetup,
)
from ...log import wire
from ...log.positions import chain_digest
from ...log.wire import Entry
from ...read.walk import Slice
from ...temporal import messages
from ...temporal.codec import memo_value
from ..frames import media_type
from ..problems import ConflictError, GoneError, InvalidRequestError, TooLargeError
from ..reading.parts import Reading
from ..refusals import ForbiddenError
from ..requests import ForkQuery
from ..security import authorize
from ..sessions import Gateway
from ..streams import Stream, shared_with
from .bodies import content_payload

MAX_INHERITED_BYTES = 256 * 1024 * 1024
"""What a fork can begin with, as JSON: each item takes a third more than it has, and some 60 bytes.

It is copied in one request, a signal and a verdict for each 1.25 MB.
"""

# How often an Update is sent whose workflow task fails, such as one that rolls over.
_TRIES = 5

_TOO_LARGE = (
    "A fork holds a copy of what it begins with, and this would be more than "
    f"{MAX_INHERITED_BYTES:,} bytes: each value takes a third more than it has, and some 60 bytes. "
    "Fork the stream at a lower offset."
)


class NotForkedError(ConflictError):
    """The source is there, but a fork of it cannot come about."""


class Source:
    """The stream that a fork is made of."""

    def __init__(self, gateway: Gateway, stream: Stream, setup: HostSetup, fork: ForkQuery) -> None:
        """Use :func:`found_source`."""
        self._gateway = gateway
        self._stream = stream
        self._fork = fork
        self.setup = setup

    @property
    def chains(self) -> str:
        """What the fork's setup says of the streams that it comes from."""
        own = chain_digest(self._stream.first_run_id).hex()
        return ",".join([own, *(f"{c}@{most}" for c, most in shared_with(self.setup).items())])

    async def count(self) -> int:
        """Return with how many items the fork begins, once it is clear that they can be copied.

        Raises:
            InvalidRequestError: The place lies past what is there.
            ConflictError: Items before it are not there any more.
            TooLargeError: They are more than :data:`MAX_INHERITED_BYTES`.
        """
        stream, fork = self._stream, self._fork
        async with stream.held():
            head = await stream.now()
            at = head if fork.offset is None else fork.offset
            if fork.position and not stream.knows(fork.position):
                raise ConflictError("That offset is of another stream that had this name.")
            past = fork.sub_offset
            whole = at + past if stream.shape.json else at + bool(past)
            if at > head or whole > head:
                raise InvalidRequestError("The fork's offset lies past what is there.")
            size = 0
            async with aclosing(self._items(whole)) as items:
                async for item in items:
                    size += wire.entry_bytes(*item)
                    if size > MAX_INHERITED_BYTES:
                        raise TooLargeError(_TOO_LARGE)
        return whole

    async def beginning_with(self, count: int, own: Iterable[str]) -> AsyncGenerator[str]:
        """Yield the first items of the source, and then the fork's own, in JSON text.

        Raises:
            NotForkedError: Items of the source are not there any more.
        """
        async with self._stream.held(), aclosing(self._items(count)) as items:
            async for item in items:
                yield wire.entry_json(*item)
        for entry in own:
            yield entry

    async def _items(self, count: int) -> AsyncGenerator[Entry]:
        """Yield the first items; of the last one, as much as the fork's sub-offset says."""
        stream = self._stream
        past = 0 if stream.shape.json else self._fork.sub_offset
        at = 0
        reading = Reading(stream.feed, 0, part_bytes=stream.settings.page_bytes)
        async with aclosing(reading):
            while at < count:
                part = await reading.next_part()
                for step in part.steps:
                    if at == count:
                        return
                    if isinstance(step, Gap) or (isinstance(step, Slice) and step.offset != at):
                        raise NotForkedError("Not all that was before that offset is still there.")
                    for item in step.entries[: count - at] if isinstance(step, Slice) else ():
                        at += 1
                        yield _cut(item, past) if past and at == count else item

    async def note(self, workflow_id: str) -> None:
        """Have the source know of the fork; a closed one that has ended needs not.

        Raises:
            NotForkedError: It has too many.
        """
        try:
            with suppress(StreamClosedError, StreamNotFoundError):
                await _update(self._gateway, self._stream.workflow_id, FORK_UPDATE, workflow_id)
        except WorkflowUpdateFailedError as err:
            if getattr(err.cause, "type", None) == TOO_MANY_FORKS:
                raise NotForkedError("The stream has as many forks as it can have.") from err


@asynccontextmanager
async def found_source(
    request: Request, gateway: Gateway, fork: ForkQuery
) -> AsyncIterator[Source]:
    """Look up the stream that is to be forked.

    Raises:
        RefusedError: The client may not read it, or there is none.
        ConflictError: It cannot be forked.
    """
    grant = await authorize(request, "read", fork.source)
    if grant.topics is not None:
        raise ForbiddenError("A fork holds all topics; the credentials allow some of them only.")
    async with AsyncExitStack() as stack:
        try:
            stream = await stack.enter_async_context(gateway.found(fork.source))
        except GoneError:
            raise ConflictError("The stream to be forked has been deleted.") from None
        if stream.setup is None:
            raise ConflictError("Only streams that were made by PUT can be forked.")
        given = request.headers.get("content-type")
        if given is not None and media_type(given) != media_type(stream.setup.content_type):
            raise ConflictError("A fork has the content type of the stream that it is forked from.")
        yield Source(gateway, stream, stream.setup, fork)


async def deleted_for_forks(gateway: Gateway, stream: Stream) -> bool:
    """Delete a stream if it has forks, so that its name stays taken; return whether it has."""
    if not stream.running or not await memo_value(stream.described, FORKS_MEMO_KEY, int):
        return False
    try:
        return await _update(gateway, stream.workflow_id, DELETE_UPDATE)
    except (StreamClosedError, StreamNotFoundError, WorkflowUpdateFailedError):
        return False  # its host has ended meanwhile


async def fork_is_gone(gateway: Gateway, workflow_id: str, source: str) -> None:
    """Tell the stream that a fork was made of that the fork has been deleted."""
    handle = gateway.link.client.get_workflow_handle(source)
    with suppress(StreamClosedError, StreamNotFoundError):
        await gateway.link.call(handle.signal(FORK_GONE_SIGNAL, workflow_id), source)


async def _update(gateway: Gateway, workflow_id: str, update: str, *arguments: str) -> bool:
    """Send a host an Update; another time if it came right when the host rolled over."""
    handle = gateway.link.client.get_workflow_handle(workflow_id)
    for tries_left in reversed(range(_TRIES)):
        call = handle.execute_update(update, args=arguments, result_type=bool)
        try:
            return await gateway.link.call(call, workflow_id)
        except RequestRejectedError as err:
            if not tries_left or not messages.task_failed(err.__cause__):
                raise
    raise AssertionError  # the last try returns or raises


def _cut(entry: Entry, size: int) -> Entry:
    topic, data = entry
    content = wire.decode_payload(data).data
    if size > len(content):
        raise InvalidRequestError("The fork's sub-offset lies past the end of that append.")
    return topic, wire.encode_payload(content_payload(content[:size]))
