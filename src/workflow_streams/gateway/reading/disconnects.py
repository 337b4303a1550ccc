"""Notices when a client has left, so that work for it can stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client has left, so that there is nobody to answer."""


async def gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` for a request without a body, and cancel it when the client leaves.

    Raises:
        ClientGoneError: The client has left.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(gone(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()
        await asyncio.wait({working, leaving})
        if not working.cancelled():
            working.exception()


def left() -> Response:
    """Return an answer for a client that has left: only the log gets to see its status."""
    return Response(status_code=499)
