"""Whether Temporal answers, asked no more often than is worth knowing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

logger = logging.getLogger("workflow_streams.gateway")

_HOLDS_SECONDS = 1.0


class Readiness:
    """Shares one answer among all who ask within a second, and one call among all who wait.

    Whoever can reach the gateway may ask, without a login and beyond the limits; what they cause
    must not grow with them.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[bool]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is asked before somebody wants to know.

        Args:
            ask: Asks, within a time that has an end.
            clock: Seconds that only grow.
        """
        self._ask = ask
        self._clock = clock
        self._asking: asyncio.Task[bool] | None = None
        self._answer = False
        self._until: float | None = None

    async def is_ready(self) -> bool:
        """Return what Temporal has said, no more than a second ago."""
        if self._asking is None:
            if self._until is not None and self._clock() < self._until:
                return self._answer
            self._asking = asyncio.create_task(self._ask_once(), name="readiness")
        asking = self._asking
        # Whoever leaves while it waits does not take the others' answer along.
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
        """End a call that is under way, and forget what was said."""
        self._until = None
        if (asking := self._asking) is not None:
            asking.cancel()
            await asyncio.wait({asking})
