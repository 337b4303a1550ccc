"""What a stream's name means now: which chain of runs, and where its items begin."""

from __future__ import annotations

import asyncio

from ...errors import ServerUnavailableError
from ..source import Source, Standing


class Identity:
    """Asks where a stream is, on behalf of a feed of it.

    Attributes:
        first_run_id: First run of the chain that is read; empty until it has been asked for.
        base: A run, and its base when that was last asked for.
    """

    def __init__(self, source: Source) -> None:
        """Prepare; nothing is asked yet."""
        self.first_run_id = ""
        self.base = ("", 0)
        self._source = source
        # The chain was the current one at this time; see confirm.
        self._confirmed = float("-inf")
        self._confirming = asyncio.Lock()

    def begin(self) -> None:
        """Note that :meth:`learn` is about to be called."""
        self._confirmed = asyncio.get_running_loop().time()

    async def learn(self) -> tuple[str, bool]:
        """Take the chain that the id means now for the one that is read.

        Returns:
            The run to begin with, and whether a ring buffer moves its base on with each item.
        """
        standing = await self._source.look(self._source.run_id)
        self.first_run_id = standing.first_run_id
        keeps_last = await self._learn_base(standing)
        return standing.run_id, keeps_last

    async def current_run(self) -> str | None:
        """Return the run that the chain has come to; None if the id is another chain's by now."""
        standing = await self._source.look()
        same = self.first_run_id in ("", standing.first_run_id)
        return standing.run_id if same else None

    async def confirm(self, since: float) -> bool:
        """Whether the workflow id still was this chain's at the time ``since``, or after it.

        :attr:`base` is that of then, too: the reading may not have come to a truncation yet.
        Concurrent callers share the answer.
        """
        async with self._confirming:
            if self._confirmed < since:
                now = asyncio.get_running_loop().time()
                try:
                    standing = await self._source.look()
                except ServerUnavailableError:
                    if self._source.run_id is None:
                        raise
                    return True
                if self.first_run_id in ("", standing.first_run_id):
                    await self._learn_base(standing)
                elif self._source.run_id is None:
                    return False
                self._confirmed = now
        return True

    async def _learn_base(self, standing: Standing) -> bool:
        """Note the base of a run; return whether a ring buffer moves it on."""
        base, ring = await standing.base()
        self.base = standing.run_id, base
        return ring
