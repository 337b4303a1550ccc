"""Forks: streams that begin with a copy of another (Durable Streams 4.2).

What is inherited is copied when the fork is made, so that it lives by itself and is read like
any other. The source's host counts its forks; with forks left, a deleted source says 410.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress

from starlette.requests import Request
from temporalio.client import WorkflowUpdateFailedError

from ... import wire
from ...codec import memo_value
from ...errors import StreamClosedError, StreamNotFoundError
from ...events import Gap
from ...hosted import (
    DELETE_UPDATE,
    FORK_GONE_SIGNAL,
    FORK_UPDATE,
    FORKS_MEMO_KEY,
    TOO_MANY_FORKS,
    HostSetup,
)
from ...reader.walk import Slice
from ...wire import Entry
from ..frames import media_type
from ..problems import ConflictError, GoneError, InvalidRequestError
from ..reading.parts import Reading
from ..refusals import ForbiddenError
from ..requests import ForkQuery
from ..security import authorize
from ..sessions import Gateway
from ..streams import Stream
from .bodies import content_payload


class Source:
    """The stream that a fork is made of."""

    def __init__(self, gateway: Gateway, stream: Stream, setup: HostSetup, fork: ForkQuery) -> None:
        """Use :func:`found_source`."""
        self._gateway = gateway
        self._stream = stream
        self._fork = fork
        self.setup = setup

    async def inherited(self) -> list[Entry]:
        """Return the items that the fork begins with.

        Raises:
            InvalidRequestError: The place lies past what is there.
            ConflictError: Items before it are not there any more.
        """
        stream, fork = self._stream, self._fork
        async with stream.held():
            head = await stream.now()
            at = head if fork.offset is None else fork.offset
            past = fork.sub_offset
            whole = at + past if stream.shape.json else at + bool(past)
            if at > head or whole > head:
                raise InvalidRequestError("The fork's offset lies past what is there.")
            entries = await _entries_up_to(stream, whole)
        if past and not stream.shape.json:
            entries[-1] = _cut(entries[-1], past)
        return entries

    async def note(self, workflow_id: str) -> None:
        """Have the source know of the fork; a closed one that has ended needs not.

        Raises:
            ConflictError: It has too many.
        """
        handle = self._gateway.link.client.get_workflow_handle(self._stream.workflow_id)
        update = handle.execute_update(FORK_UPDATE, workflow_id, result_type=bool)
        try:
            with suppress(StreamClosedError, StreamNotFoundError):
                await self._gateway.link.call(update, self._stream.workflow_id)
        except WorkflowUpdateFailedError as err:
            if getattr(err.cause, "type", None) == TOO_MANY_FORKS:
                raise ConflictError("The stream has as many forks as it can have.") from err


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
    handle = gateway.link.client.get_workflow_handle(stream.workflow_id)
    update = handle.execute_update(DELETE_UPDATE, result_type=bool)
    try:
        return await gateway.link.call(update, stream.workflow_id)
    except (StreamClosedError, StreamNotFoundError, WorkflowUpdateFailedError):
        return False  # its host has ended meanwhile


async def fork_is_gone(gateway: Gateway, workflow_id: str, source: str) -> None:
    """Tell the stream that a fork was made of that the fork has been deleted."""
    handle = gateway.link.client.get_workflow_handle(source)
    with suppress(StreamClosedError, StreamNotFoundError):
        await gateway.link.call(handle.signal(FORK_GONE_SIGNAL, workflow_id), source)


async def _entries_up_to(stream: Stream, end: int) -> list[Entry]:
    entries: list[Entry] = []
    reading = Reading(stream.feed, 0, part_bytes=stream.settings.page_bytes)
    async with aclosing(reading):
        while len(entries) < end:
            part = await reading.next_part()
            for step in part.steps:
                if isinstance(step, Gap) or (
                    isinstance(step, Slice) and step.offset > len(entries)
                ):
                    raise ConflictError("Not all that was before that offset is still there.")
                if isinstance(step, Slice):
                    entries += step.entries
    return entries[:end]


def _cut(entry: Entry, size: int) -> Entry:
    topic, data = entry
    content = wire.decode_payload(data).data
    if size > len(content):
        raise InvalidRequestError("The fork's sub-offset lies past the end of that append.")
    return topic, wire.encode_payload(content_payload(content[:size]))
