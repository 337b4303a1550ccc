"""Notices that a client has left, so that nobody works for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive


async def gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """Do ``work`` for a request that has no body, and give it up when the client leaves."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(gone(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        # Nobody reads the other answer; the number is the one that logs know it by.
        return working.result() if working.done() else Response(status_code=499)
    finally:
        leaving.cancel()
        working.cancel()
        await asyncio.wait({working, leaving})
        if not working.cancelled():
            working.exception()
