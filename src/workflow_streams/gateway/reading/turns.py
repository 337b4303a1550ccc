"""Turns at work that holds megabytes: few at once, and as many for each client that waits.

What is read for an answer, and the answer itself, are in memory until the client's sending begins.
Without a bound, the requests of a single client would fill the memory, and keep Temporal and the
event loop from everybody else.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..refusals import NoTurnError, RefusedError
from ..refusals.problems import UnavailableError


class Turns:
    """Gives turns: to each client in the order of its requests, and to the clients in rotation.

    Attributes:
        taken: How many are taken now.
    """

    def __init__(self, most: int, most_per_client: int, wait_seconds: float) -> None:
        """Begin with none taken.

        Args:
            most: How many may be taken at once.
            most_per_client: How many of them by one client.
            wait_seconds: How long a request waits for its turn.
        """
        self._most = most
        self._most_per_client = most_per_client
        self._wait_seconds = wait_seconds
        self.taken = 0
        self._of_client: Counter[str] = Counter()
        # The client that was given a turn longest ago comes first.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """How many requests wait for a turn."""
        return sum(len(queue) for queue in self._waiting.values())

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[Turn]:
        """Wait for a turn, and hold it for the time of the block.

        Args:
            client: Whom to count it for.

        Raises:
            NoTurnError: It did not come in time.
            UnavailableError: The gateway is about to end.
        """
        turn = Turn(self, client)
        await turn.take()
        try:
            yield turn
        finally:
            turn.give_back()

    async def take(self, client: str) -> None:
        """Wait for a turn, and take it; pair with :meth:`give_back`."""
        if self._is_closed:
            raise _ending()
        coming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(coming)
        self._go_on()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await coming
        except BaseException as err:
            if coming.done() and not coming.cancelled() and coming.exception() is None:
                self.give_back(client)  # it came at the last moment
            else:
                self._leave(client, coming)
            if isinstance(err, TimeoutError):
                raise NoTurnError from None
            raise

    def give_back(self, client: str) -> None:
        """Let the next one have a turn."""
        self.taken -= 1
        self._of_client[client] -= 1
        if not self._of_client[client]:
            del self._of_client[client]
        self._go_on()

    def close(self) -> None:
        """Refuse those that wait, and all that come later: the process is about to end."""
        self._is_closed = True
        waiting, self._waiting = self._waiting, OrderedDict()
        for coming in (each for queue in waiting.values() for each in queue):
            if not coming.done():
                coming.set_exception(_ending())

    def _go_on(self) -> None:
        while self.taken < self._most and (client := self._next_client()) is not None:
            queue = self._waiting[client]
            coming = queue.popleft()
            if queue:
                self._waiting.move_to_end(client)
            else:
                del self._waiting[client]
            if not coming.done():
                self.taken += 1
                self._of_client[client] += 1
                coming.set_result(None)

    def _next_client(self) -> str | None:
        most = self._most_per_client
        return next((each for each in self._waiting if self._of_client[each] < most), None)

    def _leave(self, client: str, coming: asyncio.Future[None]) -> None:
        queue = self._waiting.get(client)
        if queue is not None and coming in queue:
            queue.remove(coming)
            if not queue:
                del self._waiting[client]


class Turn:
    """One request's turn, which it may give back early, and take again."""

    def __init__(self, turns: Turns, client: str) -> None:
        """Begin without the turn; see also :meth:`Turns.turn`."""
        self._turns = turns
        self._client = client
        self._is_taken = False

    async def take(self) -> None:
        """Wait for the turn, unless it is taken already."""
        if not self._is_taken:
            await self._turns.take(self._client)
            self._is_taken = True

    def give_back(self) -> None:
        """Let the next one have a turn."""
        if self._is_taken:
            self._is_taken = False
            self._turns.give_back(self._client)


def _ending() -> RefusedError:
    return UnavailableError("The gateway is about to end; ask another one.")
