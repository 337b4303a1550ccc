"""PUT: streams of the gateway's own, hosted by a workflow of this package."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from ... import wire
from ...errors import ServerUnavailableError, StreamNotFoundError
from ...hosted import HostSetup, start_host
from ..frames import media_type, shape_of
from ..offsets import token_of
from ..problems import ConflictError, GoneError, InvalidRequestError
from ..requests import (
    DEFAULT_TOPIC,
    ForkQuery,
    Lifetime,
    is_closing,
    parse_fork,
    parse_lifetime,
    raw_path,
)
from ..security import authorize
from ..sessions import Gateway, gateway_of
from ..streams import Stream, is_gone, setup_of
from .appends import Append, append, in_bounds
from .bodies import read_entries
from .deleting import Deletion, end_run
from .forks import Source, found_source

_DEFAULT_TYPE = "application/octet-stream"
# The first content has this publisher and the number 1, so that it is there once, however
# often its PUT is tried.
_MAKER = "made-with"
_TRIES = 3
_MOST_TYPE_CHARACTERS = 256


async def put(request: Request, workflow_id: str) -> Response:
    """Make a stream, or see that it is there."""
    await authorize(request, "write", workflow_id)
    gateway = gateway_of(request)
    lifetime = parse_lifetime(request.headers)
    fork = parse_fork(request.headers)
    body = await request.body()
    source: Source | None = None
    entries: list[str] = []
    if fork is None:
        setup = _setup(request, lifetime, None, None)
    else:
        async with found_source(request, gateway, fork) as source:
            setup = _setup(request, lifetime, fork, source)
            entries = [wire.entry_json(*item) for item in await source.inherited()]
    if body:
        entries += await read_entries(body, shape_of(setup.content_type), DEFAULT_TOPIC)
    entries = list(in_bounds(entries))
    setup = replace(setup, initial=bool(entries))
    run_id = await _start(gateway, workflow_id, setup)
    is_new = run_id is not None
    if run_id is not None and source is not None:
        try:
            await source.note(workflow_id)
        except ConflictError:
            await Deletion(gateway, workflow_id, run_id, run_id, setup).run()
            raise
    head, closed = 0, False
    if entries or setup.closed or not is_new:
        head, closed = await _settle(gateway, workflow_id, setup, entries, is_new=is_new)
    headers = {
        "content-type": setup.content_type,
        "stream-next-offset": token_of(head),
        "cache-control": "no-store",
    }
    if closed:
        headers["stream-closed"] = "true"
    if is_new:
        headers["location"] = str(request.url.replace(path=raw_path(request.scope), query=""))
    return Response(status_code=201 if is_new else 200, headers=headers)


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
    )


async def _settle(
    gateway: Gateway, workflow_id: str, setup: HostSetup, entries: list[str], *, is_new: bool
) -> tuple[int, bool]:
    """Bring the first content in, or compare with what is there; return head and whether closed."""
    first = Append(entries, _MAKER, 1, close=setup.closed)
    async with AsyncExitStack() as stack:
        try:
            stream = await stack.enter_async_context(gateway.found(workflow_id))
        except GoneError:
            detail = "The stream of this name has been deleted, but has forks."
            raise ConflictError(detail) from None
        await stack.enter_async_context(stream.held())
        if not is_new:
            return await _existing(stream, setup, first)
        appended = await append(stream, first)
        return appended.head, setup.closed


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


async def _existing(stream: Stream, setup: HostSetup, first: Append) -> tuple[int, bool]:
    """Compare with the stream that is there; return its head and whether it is closed.

    Raises:
        ConflictError: It is another one.
    """
    there = stream.setup
    if there is None or not same_setup(there, setup):
        raise ConflictError("There is a stream of this name that was made in another way.")
    await stream.now()
    if there.initial and first.entries and stream.feed.head == 0 and stream.end is None:
        # The PUT that made it broke off before its content was in.
        await append(stream, first)
    closed = stream.end is not None
    if closed != setup.closed:
        state = "closed" if closed else "open"
        raise ConflictError(f"There is a stream of this name, and it is {state}.")
    return stream.feed.head, closed


def same_setup(one: HostSetup, other: HostSetup) -> bool:
    """Whether two requests to make a stream ask for the same, content aside."""
    return _essence(one) == _essence(other)


def _essence(setup: HostSetup) -> HostSetup:
    content_type = media_type(setup.content_type)
    return replace(setup, content_type=content_type, closed=False, initial=False)
