"""PUT: streams of the gateway's own, hosted by a workflow of this package."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace

from starlette.requests import Request
from starlette.responses import Response
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from ...errors import ServerUnavailableError, StreamNotFoundError
from ...hosted.host import HostSetup, start_host
from ...log import wire
from ...log.fold import Closed
from ...log.positions import tag_of
from ..frames import media_type, shape_of
from ..offsets import token_of
from ..paths import raw_path
from ..problems import ConflictError, GoneError, InvalidRequestError
from ..requests import DEFAULT_TOPIC, ForkQuery, Lifetime, is_closing, parse_fork, parse_lifetime
from ..security import authorize
from ..sessions import Gateway, gateway_of
from ..streams import Stream, is_gone, setup_of
from .appends import Append, append
from .bodies import read_entries
from .deleting import Deletion, end_run
from .forks import NotForkedError, Source, found_source

_DEFAULT_TYPE = "application/octet-stream"
# What a stream begins with has this publisher, so that it is there once, however often its PUT is
# tried. Without a fork it is one batch. A fork's are cut in the same way each time; the last has a
# number of its own, which tells that nothing is missing.
_MAKER = "made-with"
_ONLY = 1
_LAST = 1_000_000_000
# One signal holds such a batch, with what is around the entries.
_BATCH_CHARACTERS = wire.PART_CHARACTERS - 1024
_TRIES = 3
_MOST_TYPE_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What a stream begins with.

    Attributes:
        setup: What it is made with.
        entries: Items of the PUT's body, in JSON text.
        source: The stream that it is forked from, whose items come first.
    """

    setup: HostSetup
    entries: list[str] = field(repr=False)
    source: Source | None = None

    @property
    def last(self) -> int:
        """Number of the last batch."""
        return _ONLY if self.source is None else _LAST

    async def batches(self) -> AsyncGenerator[Append]:
        """Yield it in batches, always the same ones; the last closes the stream if that is due."""
        number, batch, size = 1, list[str](), 0
        if self.source is None:
            batch = self.entries
        else:
            items = self.source.beginning_with(self.setup.inherits or 0, self.entries)
            async with aclosing(items):
                async for entry in items:
                    if batch and size + len(entry) >= _BATCH_CHARACTERS:
                        yield Append(batch, _MAKER, number)
                        number, batch, size = number + 1, [], 0
                    batch.append(entry)
                    size += len(entry) + 1
        yield Append(batch, _MAKER, self.last, close=self.setup.closed)


async def put(request: Request, workflow_id: str) -> Response:
    """Make a stream, or see that it is there."""
    await authorize(request, "write", workflow_id)
    gateway = gateway_of(request)
    lifetime = parse_lifetime(request.headers)
    fork = parse_fork(request.headers)
    body = await request.body()
    async with AsyncExitStack() as stack:
        source: Source | None = None
        inherits: int | None = None
        if fork is not None:
            source = await stack.enter_async_context(found_source(request, gateway, fork))
            inherits = await source.count()
        setup = _setup(request, lifetime, fork, source)
        shape = shape_of(setup.content_type)
        entries = await read_entries(body, shape, DEFAULT_TOPIC) if body else []
        setup = replace(setup, inherits=inherits, initial=bool(entries or inherits))
        run_id = await _start(gateway, workflow_id, setup)
        token, closed = token_of(0, tag_of(run_id or "", run_id or "")), False
        beginning = _Beginning(setup, entries, source)
        try:
            if run_id is not None and source is not None:
                await source.note(workflow_id)
            if run_id is None or setup.initial or setup.closed:
                is_new = run_id is not None
                token, closed = await _settle(gateway, workflow_id, beginning, is_new=is_new)
        except NotForkedError:
            if run_id is not None:
                await Deletion(gateway, workflow_id, run_id, run_id, setup).run()
            raise
    headers = {
        "content-type": setup.content_type,
        "stream-next-offset": token,
        "cache-control": "no-store",
    }
    if closed:
        headers["stream-closed"] = "true"
    if run_id is not None:
        headers["location"] = str(request.url.replace(path=raw_path(request.scope), query=""))
    return Response(status_code=200 if run_id is None else 201, headers=headers)


def _setup(
    request: Request, lifetime: Lifetime, fork: ForkQuery | None, source: Source | None
) -> HostSetup:
    """Return the setup of a stream; a fork takes after its source where nothing else is said."""
    closed = is_closing(request.headers)
    content_type = request.headers.get("content-type")
    if fork is None or source is None:
        return setup_for(content_type or _DEFAULT_TYPE, lifetime, closed=closed)
    own = source.setup
    if lifetime == Lifetime():
        lifetime = Lifetime(own.ttl_seconds, own.expires_at)
    setup = setup_for(content_type or own.content_type, lifetime, closed=closed)
    return replace(
        setup,
        forked_from=fork.source,
        fork_offset=fork.offset,
        fork_sub_offset=fork.sub_offset,
        sources=source.chains,
    )


async def _settle(
    gateway: Gateway, workflow_id: str, beginning: _Beginning, *, is_new: bool
) -> tuple[str, bool]:
    """Bring in what it begins with, or compare; return its head and whether it is closed.

    Raises:
        ConflictError: There is another stream of the name.
    """
    async with AsyncExitStack() as stack:
        try:
            stream = await stack.enter_async_context(gateway.found(workflow_id))
        except GoneError:
            detail = "The stream of this name has been deleted, but has forks."
            raise ConflictError(detail) from None
        await stack.enter_async_context(stream.held())
        asked_closed = beginning.setup.closed
        done = None
        if not is_new:
            beginning = await _existing(stream, beginning)
            done = await _progress(stream)
        if is_new or not _is_complete(stream, beginning, done):
            token, closed = await _complete(stream, beginning, done or 0)
        else:
            token, closed = token_of(stream.feed.head, stream.feed.tag), stream.end is not None
        if closed != asked_closed:
            state = "closed" if closed else "open"
            raise ConflictError(f"There is a stream of this name, and it is {state}.")
        return token, closed


async def _complete(stream: Stream, beginning: _Beginning, done: int) -> tuple[str, bool]:
    """Bring in what a stream begins with, but for the batches up to ``done``."""
    token, closed = token_of(stream.feed.head, stream.feed.tag), False
    batches = beginning.batches()
    async with aclosing(batches):
        async for batch in batches:
            if batch.sequence <= done:
                continue
            appended = await append(stream, batch)
            token, closed = appended.token, batch.close
            if isinstance(appended.verdict, Closed):
                return token, True
    return token, closed


async def _progress(stream: Stream) -> int | None:
    """Return the number of the last batch that is in; None for none, or if it was long ago."""
    await stream.now()
    await stream.wait_for_host()  # or right after a rollover, nothing is known
    return stream.feed.last_sequence(_MAKER)


def _is_complete(stream: Stream, beginning: _Beginning, done: int | None) -> bool:
    """Whether all is in that a stream was to begin with, as far as this PUT can bring it in."""
    there = stream.setup
    if there is None or stream.end is not None:
        return True
    if done is not None:
        return done == beginning.last or there.inherits is None
    if there.initial:
        # If something is there, others have written first, or its beginning has been forgotten.
        return stream.feed.head > 0 or not (beginning.entries or there.inherits)
    return not there.closed


def setup_for(content_type: str, lifetime: Lifetime, *, closed: bool) -> HostSetup:
    """Return the setup of a stream.

    Raises:
        InvalidRequestError: The content type is none.
    """
    main, slash, sub = media_type(content_type).partition("/")
    if not (main and slash and sub) or not content_type.isascii() or not content_type.isprintable():
        raise InvalidRequestError("The content type is not one.")
    if len(content_type) > _MOST_TYPE_CHARACTERS:
        raise InvalidRequestError(f"The content type is over {_MOST_TYPE_CHARACTERS} characters.")
    return HostSetup(
        content_type,
        ttl_seconds=lifetime.ttl_seconds,
        expires_at=lifetime.expires_at,
        closed=closed,
    )


async def _start(gateway: Gateway, workflow_id: str, setup: HostSetup) -> str | None:
    """Start the host of a new stream, and return its run; None if there is a workflow already."""
    reuse = WorkflowIDReusePolicy.REJECT_DUPLICATE
    for _ in range(_TRIES):
        start = start_host(
            gateway.link.client,
            workflow_id,
            setup,
            task_queue=gateway.settings.host_task_queue,
            reuse=reuse,
        )
        try:
            return await gateway.link.call(start, workflow_id)
        except WorkflowAlreadyStartedError:
            if not await _is_free_again(gateway, workflow_id):
                return None
            reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE
    raise ServerUnavailableError("The stream is being deleted and made again at the same time")


async def _is_free_again(gateway: Gateway, workflow_id: str) -> bool:
    """Whether a stream of this name has been there, but is not any more."""
    handle = gateway.link.client.get_workflow_handle(workflow_id)
    try:
        described = await gateway.link.call(handle.describe(), workflow_id)
    except StreamNotFoundError:
        return True
    setup = await setup_of(described)
    if setup is None or not await is_gone(described, setup):
        return False
    await end_run(gateway, workflow_id, described.run_id)
    return True


async def _existing(stream: Stream, beginning: _Beginning) -> _Beginning:
    """Compare with the stream that is there; return what that one begins with.

    Raises:
        ConflictError: It is another one.
    """
    there, setup, source = stream.setup, beginning.setup, beginning.source
    if there is None or not same_setup(there, setup):
        raise ConflictError("There is a stream of this name that was made in another way.")
    inherits = setup.inherits
    if source is not None and there.inherits is not None:
        if there.sources != setup.sources:
            raise ConflictError("The stream of this name is a fork of one that has been deleted.")
        await source.note(stream.workflow_id)
        inherits = there.inherits  # the source may have grown since
    return replace(beginning, setup=replace(setup, closed=there.closed, inherits=inherits))


def same_setup(one: HostSetup, other: HostSetup) -> bool:
    """Whether two requests to make a stream ask for the same, content aside."""
    return _essence(one) == _essence(other)


def _essence(setup: HostSetup) -> HostSetup:
    content_type = media_type(setup.content_type)
    return replace(
        setup, content_type=content_type, closed=False, initial=False, inherits=None, sources=""
    )
