"""Makes hosted streams, each of them once, however often that is tried.

If there is a stream of the name already, it is compared with the one that is asked for. If that is
the same, but an earlier call broke off before it was finished, it is finished now.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from ..errors import (
    ServerUnavailableError,
    StreamExistsError,
    StreamGoneError,
    StreamNotFoundError,
)
from ..log import wire
from ..log.compact import SIGNAL_BOUNDS
from ..log.fold import Closed
from ..log.media_types import media_type
from ..log.packed import PackedEntries, pack
from ..log.positions import position_at, tag_of
from ..log.wire import Entry
from ..read.runs.gone import is_gone
from .appends import Append, append, counted_bytes
from .deleting import Deletion, end_run
from .forks import ForkSource, NotForkedError
from .host import HostSetup, start_host
from .streams import Hosting, Stream, found

# The publisher of what a stream begins with, so that this is in the stream once, however many tries
# it takes to make it. It is one batch. In a fork there are several, which are cut in the same way
# each time; the last one has a number of its own. The id ends with a digest of the content, so that
# a call with other content does not take the place of the one that has begun, whose content would
# be lost. In streams that earlier versions made, it has no digest.
_MAKER = "made-with"
# One signal has room for such a batch and for what is around its entries.
_BATCH_BYTES = wire.FRAGMENT_BYTES - 1024
_TRIES = 3
_MOST_TYPE_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What a stream begins with.

    Attributes:
        setup: What it is made with.
        entries: Its own items.
        source: The stream that it is forked from, whose items come first.
        maker: Id of the publisher that writes it.
    """

    setup: HostSetup
    entries: PackedEntries
    source: ForkSource | None
    maker: str

    async def batches(self) -> AsyncGenerator[Append]:
        """Yield it in batches, always the same; the last one closes the stream if it is to be."""
        maker = self.setup.maker or _MAKER
        number, batch, size, longest = 1, list[Entry](), 0, 0
        last = self.entries
        if self.source is not None:
            items = self.source.beginning_with(self.setup.inherits or 0, self.entries)
            async with aclosing(items):
                async for entry in items:
                    counted = counted_bytes(*entry)
                    # Topics and kinds are written once, but told with each item.
                    longest = max(longest, counted - len(entry[2]))
                    told = longest * (len(batch) + 1)
                    if batch and (
                        size + counted >= _BATCH_BYTES or told > SIGNAL_BOUNDS.body_bytes
                    ):
                        yield Append(pack(batch), maker, number)
                        number, batch, size, longest = number + 1, [], 0, counted - len(entry[2])
                    batch.append(entry)
                    size += counted
            last = pack(batch)
        yield Append(last, maker, self.setup.last_sequence, close=self.setup.closed)


@dataclass(frozen=True, slots=True)
class Made:
    """A stream that has been made, or was there already.

    Attributes:
        is_new: Whether it was not there before.
        position: Its head, as readers are given it.
        closed: Whether it is closed.
    """

    is_new: bool
    position: str
    closed: bool


async def make(
    hosting: Hosting,
    workflow_id: str,
    setup: HostSetup,
    entries: PackedEntries,
    source: ForkSource | None = None,
) -> Made:
    """Make a stream, or see that it is there as it was asked for.

    Args:
        hosting: Where streams are hosted.
        workflow_id: Its name.
        setup: What to make it with; see :func:`forked` for a fork.
        entries: What it begins with; for a fork, after what it inherits.
        source: The stream that it is forked from.

    Raises:
        StreamExistsError: There is another stream of this name.
        ForkError: It cannot be forked from its source any more.
        StreamUnfinishedError: Another call has begun to make it with other content.
        WorkflowStreamError: Temporal did not do it. What has been begun may be tried again.
    """
    own_maker = f"{_MAKER}:{entries.digest[:32]}"
    initial = bool(entries or setup.inherits)
    maker = own_maker if initial or setup.closed else ""
    setup = replace(setup, initial=initial, maker=maker)
    beginning = _Beginning(setup, entries, source, own_maker)
    run_id = await _start(hosting, workflow_id, setup)
    is_new = run_id is not None
    position, closed = position_at(0, tag_of(run_id or "", run_id or "")), False
    try:
        if is_new and source is not None:
            await source.note(workflow_id)
        if not is_new or maker:
            position, closed = await _settle(hosting, workflow_id, beginning, run_id)
    except (NotForkedError, StreamNotFoundError):
        # Its source cannot be forked, or is gone. Nobody could finish the fork.
        if run_id is not None and source is not None:
            await Deletion(hosting, workflow_id, run_id, run_id, setup).run()
        raise
    return Made(is_new, position, closed)


async def forked(setup: HostSetup, source: ForkSource) -> HostSetup:
    """Return the setup of a fork, once it is clear that it can be made.

    Args:
        setup: What else it is to be made with. If that says nothing of when it expires, it does as
            its source does.
        source: The stream that it is forked from.

    Raises:
        ForkOffsetError: The source does not reach to the fork's offset.
        ForkError: What it would begin with is too large, or not there any more.
    """
    inherits = await source.count()
    if setup.ttl_seconds is None and setup.expires_at is None:
        own = source.setup
        setup = replace(setup, ttl_seconds=own.ttl_seconds, expires_at=own.expires_at)
    return replace(
        setup,
        forked_from=source.point.source,
        fork_offset=source.point.offset,
        fork_sub_offset=source.point.sub_offset,
        inherits=inherits,
        sources=source.chains,
    )


async def _settle(
    hosting: Hosting, workflow_id: str, beginning: _Beginning, run_id: str | None
) -> tuple[str, bool]:
    """Write what the stream begins with, or compare it with the one that is there.

    Returns its head and whether it is closed.

    Args:
        hosting: Where streams are hosted.
        workflow_id: Its name.
        beginning: What it begins with.
        run_id: Its run, if it has just been made; None if there was one already.

    Raises:
        StreamGoneError: It has been deleted since it was made.
        StreamExistsError: There is another stream of the name.
        StreamUnfinishedError: There is one that another call has begun to make with other content,
            and does not finish in time.
    """
    async with AsyncExitStack() as stack:
        try:
            stream = await stack.enter_async_context(found(hosting, workflow_id))
        except StreamGoneError as err:
            if not err.has_forks:
                raise
            why = "The stream of this name has been deleted, but has forks."
            raise StreamExistsError(workflow_id, why) from None
        if run_id is not None and stream.first_run_id != run_id:
            raise StreamGoneError(workflow_id, replaced=True)
        await stack.enter_async_context(stream.held())
        asked_closed = beginning.setup.closed
        done, complete = None, False
        if run_id is None:
            beginning = await _existing(stream, beginning)
            done = await _progress(stream, beginning.setup.maker or _MAKER)
            complete = await _is_complete(stream, beginning, done)
        if not complete:
            position, closed = await _complete(stream, beginning, done or 0)
        else:
            position, closed = _head_of(stream), stream.end is not None
        if closed != asked_closed:
            state = "closed" if closed else "open"
            why = f"There is a stream of this name, and it is {state}."
            raise StreamExistsError(workflow_id, why, ("closed",))
        return position, closed


async def _complete(stream: Stream, beginning: _Beginning, done: int) -> tuple[str, bool]:
    """Write what a stream begins with, except for the batches up to ``done``."""
    position, closed = _head_of(stream), False
    batches = beginning.batches()
    async with aclosing(batches):
        async for batch in batches:
            if batch.sequence <= done:
                continue
            appended = await append(stream, batch)
            position, closed = appended.position, batch.close
            if isinstance(appended.verdict, Closed):
                return position, True
    return position, closed


def _head_of(stream: Stream) -> str:
    return position_at(stream.feed.head, stream.feed.tag)


async def _progress(stream: Stream, maker: str) -> int | None:
    """Return the number of the last batch of its beginning that is there.

    None if there is none, or if that was so long ago that it has been forgotten.
    """
    await stream.now()
    await stream.wait_for_host()  # or right after a rollover, nothing is known
    return stream.feed.last_sequence(maker)


async def _is_complete(stream: Stream, beginning: _Beginning, done: int | None) -> bool:
    """Return whether everything is there that a stream was to begin with.

    If it is not, and the content of this call is another one, wait for the call that has begun.
    """
    there = stream.setup
    if there is None or stream.end is not None:
        return True
    if there.maker:
        if stream.unfinished and there.maker == beginning.maker:
            return False
        await stream.wait_until_finished()
        if there.closed:  # by the last batch, which may have been read, but not shown yet
            await stream.feed.wait_known(lambda: stream.end is not None)
        return True
    # It was finished some time ago, or an earlier version has made it, in which others may have
    # written first. In that case this call writes what it can.
    if done is not None:
        return done == there.last_sequence or there.inherits is None
    if there.initial:
        # If there are items, others have written first, or the beginning has been forgotten.
        return stream.feed.head > 0 or not (beginning.entries or there.inherits)
    return not there.closed


def fault_of(content_type: str) -> str | None:
    """Return what is wrong with a stream's content type, in a sentence; None if nothing is."""
    main, slash, sub = media_type(content_type).partition("/")
    if not (main and slash and sub) or not content_type.isascii() or not content_type.isprintable():
        return "The content type is no media type."
    if len(content_type) > _MOST_TYPE_CHARACTERS:
        return f"The content type is over {_MOST_TYPE_CHARACTERS} characters."
    return None


def fault_of_expiry(expiry: datetime) -> str | None:
    """Return what is wrong with when a stream is to expire, in a sentence; None if nothing is."""
    if expiry <= datetime.now(timezone.utc):
        return f"The time at which the stream is to expire is over: {expiry.isoformat()}."
    return None


async def _start(hosting: Hosting, workflow_id: str, setup: HostSetup) -> str | None:
    """Start the host of a new stream; return its run id, or None if there is a workflow already."""
    reuse = WorkflowIDReusePolicy.REJECT_DUPLICATE
    for _ in range(_TRIES):
        start = start_host(
            hosting.link.client,
            workflow_id,
            setup,
            task_queue=hosting.task_queue,
            reuse=reuse,
        )
        try:
            return await hosting.link.call(start, workflow_id)
        except WorkflowAlreadyStartedError:
            if not await _is_free_again(hosting, workflow_id):
                return None
            reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE
    raise ServerUnavailableError("The stream is being deleted and made again at the same time")


async def _is_free_again(hosting: Hosting, workflow_id: str) -> bool:
    """Whether there was a stream of this name, but is none any more."""
    handle = hosting.link.client.get_workflow_handle(workflow_id)
    try:
        described = await hosting.link.call(handle.describe(), workflow_id)
    except StreamNotFoundError:
        return True
    if not await is_gone(described):
        return False
    await end_run(hosting, workflow_id, described.run_id)
    return True


async def _existing(stream: Stream, beginning: _Beginning) -> _Beginning:
    """Compare with the stream that is there; return what that one begins with.

    Raises:
        StreamExistsError: It is another one.
    """
    there, setup, source = stream.setup, beginning.setup, beginning.source
    differs = () if there is None else differing(there, setup)
    if there is None or differs:
        why = "There is a stream of this name that was made in another way."
        raise StreamExistsError(stream.workflow_id, why, differs)
    inherits = setup.inherits
    if source is not None and there.inherits is not None:
        if there.sources != setup.sources:
            why = "The stream of this name is a fork of one that has been deleted."
            raise StreamExistsError(stream.workflow_id, why, ("forked_from",))
        await source.note(stream.workflow_id)
        inherits = there.inherits  # the source may have grown since
    setup = replace(setup, closed=there.closed, inherits=inherits, maker=there.maker)
    return replace(beginning, setup=setup)


_COMPARED = {
    "ttl": "ttl_seconds",
    "expires_at": "expires_at",
    "forked_from": "forked_from",
    "fork_offset": "fork_offset",
    "fork_sub_offset": "fork_sub_offset",
}


def differing(one: HostSetup, other: HostSetup) -> tuple[str, ...]:
    """Return in what two requests to make a stream differ, content aside.

    Parameters of a content type, such as its charset, do not count.
    """
    types = {media_type(setup.content_type) for setup in (one, other)}
    differs = ["content_type"] if len(types) > 1 else []
    differs += [name for name, at in _COMPARED.items() if getattr(one, at) != getattr(other, at)]
    return tuple(differs)
