"""Whether Temporal answers; asked at most once a second, however many want to know."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

logger = logging.getLogger("workflow_streams.gateway")

_HOLDS_SECONDS = 1.0


class Readiness:
    """Answers all requests within a second from one call to Temporal.

    Anybody who can reach the gateway may ask, without a login and without being counted by the
    limits. So the number of calls to Temporal must not grow with the number of requests.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[bool]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is asked before somebody wants to know.

        Args:
            ask: Asks Temporal; returns within a bounded time.
            clock: A monotonic clock, in seconds.
        """
        self._ask = ask
        self._clock = clock
        self._asking: asyncio.Task[bool] | None = None
        self._answer = False
        self._until: float | None = None

    async def is_ready(self) -> bool:
        """Return whether Temporal answers; the result is at most a second old."""
        if self._asking is None:
            if self._until is not None and self._clock() < self._until:
                return self._answer
            self._asking = asyncio.create_task(self._ask_once(), name="readiness")
        asking = self._asking
        # Not awaited directly: cancelling one caller must not cancel the call for the others.
        await asyncio.wait({asking})
        return not asking.cancelled() and asking.result()

    async def _ask_once(self) -> bool:
        try:
            self._answer = await self._ask()
        except Exception:
            logger.exception("It is not known whether Temporal answers")
            self._answer = False
        finally:
            self._asking = None
        self._until = self._clock() + _HOLDS_SECONDS
        return self._answer

    async def aclose(self) -> None:
        """End a call that is in progress, and forget the last answer."""
        self._until = None
        if (asking := self._asking) is not None:
            asking.cancel()
            await asyncio.wait({asking})
