"""PUT: makes streams that are hosted by a workflow of this package (Durable Streams 5.1)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from ...hosted.forks import COPY_BYTES, ForkSource
from ...hosted.host import HostSetup
from ...hosted.making import fault_of, fault_of_expiry, forked, make
from ...log.packed import pack
from ..formats.frames import shape_of
from ..layers.limits import client_in
from ..refusals.problems import InvalidRequestError
from ..requests.paths import raw_path
from ..requests.writes import (
    DEFAULT_TOPIC,
    check_content_encoding,
    is_closing,
    parse_fork,
    parse_lifetime,
)
from ..security import authorize
from ..sessions import gateway_of
from .bodies import most_bytes, read_entries
from .forks import found_source

_DEFAULT_TYPE = "application/octet-stream"


async def put(request: Request, workflow_id: str) -> Response:
    """Make a stream, or find that it exists already."""
    await authorize(request, "write", workflow_id)
    gateway = gateway_of(request)
    check_content_encoding(request.headers)
    lifetime = parse_lifetime(request.headers)
    if lifetime.expires_at is not None:
        fault = fault_of_expiry(datetime.fromisoformat(lifetime.expires_at))
        if fault is not None:
            raise InvalidRequestError(f"Stream-Expires-At: {fault}")
    point = parse_fork(request.headers)
    body = await request.body()
    client = client_in(request.scope)
    async with AsyncExitStack() as stack:
        source: ForkSource | None = None
        content_type = request.headers.get("content-type")
        if point is not None:
            source = await stack.enter_async_context(found_source(request, gateway, point))
            # All that it begins with is read, and copied a megabyte at a time.
            await stack.enter_async_context(gateway.copies.turn(client))
            content_type = content_type or source.setup.content_type
        setup = HostSetup(
            _checked(content_type or _DEFAULT_TYPE),
            ttl_seconds=lifetime.ttl_seconds,
            expires_at=lifetime.expires_at,
            closed=is_closing(request.headers),
        )
        shape = shape_of(setup.content_type)
        copied = COPY_BYTES if source is not None else 0
        coming = copied + most_bytes(body, shape, DEFAULT_TOPIC)
        share = await stack.enter_async_context(gateway.writes.taken(client, coming))
        if source is not None:
            setup = await forked(setup, source)
        entries = await read_entries(body, shape, DEFAULT_TOPIC) if body else pack([])
        share.settle(copied + entries.packed_bytes)
        made = await make(gateway.hosting, workflow_id, setup, entries, source)
    headers = {
        "content-type": setup.content_type,
        "stream-next-offset": made.position,
        "cache-control": "no-store",
    }
    if made.closed:
        headers["stream-closed"] = "true"
    if made.is_new:
        headers["location"] = str(request.url.replace(path=raw_path(request.scope), query=""))
    return Response(status_code=201 if made.is_new else 200, headers=headers)


def _checked(content_type: str) -> str:
    """Return a content type that is well-formed.

    Raises:
        InvalidRequestError: It is not.
    """
    if (fault := fault_of(content_type)) is not None:
        raise InvalidRequestError(fault)
    return content_type
