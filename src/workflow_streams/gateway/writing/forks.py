"""Finds the stream that a PUT forks, and checks that the client may (Durable Streams 4.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.requests import Request

from ...errors import StreamNotHostedError
from ...hosted import forks
from ...hosted.fork_point import ForkPoint
from ...hosted.forks import ForkSource
from ..refusals import ForbiddenError
from ..refusals.problems import ConflictError
from ..security import authorize
from ..sessions import Gateway


@asynccontextmanager
async def found_source(
    request: Request, gateway: Gateway, point: ForkPoint
) -> AsyncIterator[ForkSource]:
    """Look up the stream to be forked, for the time of the block.

    Raises:
        RefusedError: The client may not read it, or it does not exist or cannot be forked.
        ForkError: It has been deleted, or its content is of another type.
    """
    grant = await authorize(request, "read", point.source)
    if grant.topics is not None:
        raise ForbiddenError("A fork holds all topics; the credentials allow some of them only.")
    given = request.headers.get("content-type")
    async with AsyncExitStack() as stack:
        try:
            looking = forks.found_source(gateway.hosting, point, given)
            source = await stack.enter_async_context(looking)
        except StreamNotHostedError:
            raise ConflictError("Only streams that were made by PUT can be forked.") from None
        yield source
