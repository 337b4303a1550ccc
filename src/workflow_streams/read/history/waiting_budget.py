"""How many calls that wait for events a process makes at a time, and which streams have them.

A frontend of Temporal lets a namespace have a number of waiting calls at a time
(``frontend.namespaceCount``, 1,200 by default), together with the polls of its workers. So that
readers never take all of them, each connection has a budget. While there are more streams than
that, those that were lively last have the calls; the others are looked at in turn (:mod:`.looks`).
Such a stream is later, and nothing else: each look goes on where the call before it ended.

Whoever knows that something has come to a stream wakes its readers, and these look at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakKeyDictionary

from temporalio.client import Client
from temporalio.service import ServiceClient

from ...arguments import is_whole
from ...errors import UsageError
from .looks import Looks, level_of

MOST_WAITING_CALLS = 200
"""How many a connection makes at a time in one namespace, unless it is set otherwise."""

# For so long after its last event, a stream keeps its call though others are livelier. With more
# lively streams than calls, a call would else change hands with each event, and miss the next one.
_SETTLED_SECONDS = 10.0

# After a refusal, a tenth is left to others at once, to workers before all, and the way back is
# slow. While the namespace is full, looks are refused, too, so it shows within a second.
_LEFT_FREE = 0.1
_BURST_SECONDS = 1.0
_REST_SECONDS = 60.0
_RISE_SECONDS = 10.0
_RISES = 50

# What is known to have come may be held back while a workflow task runs.
_FIRST_EAGER_SECONDS = 0.05
_LAST_EAGER_SECONDS = 1.0


class Waiter:
    """A reader that waits for events of one stream, one call at a time.

    Attributes:
        workflow_id: Whose events.
        lively: When something happened last, by the budget's clock.
        holds: Whether its calls may wait now.
        level: The level at which it is looked at; None while it is not.
    """

    __slots__ = (
        "_asked_at",
        "_budget",
        "_call",
        "_eager_seconds",
        "_loop",
        "_rest",
        "holds",
        "level",
        "lively",
        "workflow_id",
    )

    def __init__(self, budget: WaitingBudget, workflow_id: str) -> None:
        """Begin; a stream that is about to be read counts as lively."""
        self.workflow_id = workflow_id
        self.lively = self._asked_at = budget.clock()
        self.holds = False
        self.level: int | None = None
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._call: asyncio.Timeout | None = None
        self._rest: asyncio.Future[None] | None = None
        self._eager_seconds: float | None = None

    @property
    def is_alive(self) -> bool:
        """Whether its event loop is still there."""
        return not self._loop.is_closed()

    async def turn(self) -> bool:
        """Wait until a call may be made; return whether it may wait for events, or is a look."""
        budget = self._budget
        if not budget.takes(self):
            await self._until(self._asked_at + self._pause())
            # The next look counts from here: one that has to queue is not later the next time, too.
            self._asked_at = budget.clock()
            # While it rested, a call may have become free, or it has become lively.
            if not budget.takes(self) and self._eager_seconds is None:
                await self._until(budget.clock() + budget.reserve())
        if budget.takes(self):
            self._asked_at, self._eager_seconds = budget.clock(), None
        return self.holds

    def lets(self, call: asyncio.Timeout | None) -> None:
        """Note the limit of the call that is made now, so that others can end it; None after it."""
        self._call = call

    def was_lively(self, seconds_ago: float) -> None:
        """Note that there has been an event."""
        self.lively = max(self.lively, self._budget.clock() - seconds_ago)

    def wake(self) -> None:
        """Look at once if it has no waiting call: something has come, or is about to."""
        self.lively = self._budget.clock()
        if self.holds:
            return
        self._eager_seconds = 0.0
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)
            self._eager_seconds = _FIRST_EAGER_SECONDS

    def wake_soon(self) -> None:
        """Wake from any thread."""
        self._on_its_loop(self.wake)

    def refused(self) -> None:
        """Note that the server has no room for its call."""
        self._budget.refused(self)

    def leave(self) -> None:
        """Wait no more; a later :meth:`turn` begins anew."""
        self._budget.leave(self)

    def give_way(self) -> None:
        """End the call that waits, since its budget has gone to another one; from any thread."""
        self._on_its_loop(self._end_call)

    def _end_call(self) -> None:
        call = self._call
        if call is not None and not self.holds and not call.expired():
            call.reschedule(self._loop.time())

    def _pause(self) -> float:
        regular, eager = self._budget.pause(self), self._eager_seconds
        if eager is None:
            return regular
        more = 2 * eager or _FIRST_EAGER_SECONDS
        self._eager_seconds = more if more <= _LAST_EAGER_SECONDS else None
        return eager

    async def _until(self, moment: float) -> None:
        seconds = moment - self._budget.clock()
        if seconds <= 0:
            return
        rest = self._rest = self._loop.create_future()
        timer = self._loop.call_later(seconds, _end_rest, rest)
        try:
            await rest
        finally:
            timer.cancel()
            self._rest = None

    def _on_its_loop(self, what: Callable[[], None]) -> None:
        running = None
        with suppress(RuntimeError):  # a thread without an event loop
            running = asyncio.get_running_loop()
        if running is self._loop:
            what()
            return
        with suppress(RuntimeError):  # its loop may be closed
            self._loop.call_soon_threadsafe(what)


def _end_rest(rest: asyncio.Future[None]) -> None:
    if not rest.done():
        rest.set_result(None)


class WaitingBudget:
    """The waiting calls of one connection in one namespace. Safe to use from several threads."""

    def __init__(
        self, most: int = MOST_WAITING_CALLS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with nobody waiting.

        Args:
            most: How many calls may wait at a time.
            clock: Tells the seconds.
        """
        self.clock = clock
        self._most = self._allowed = most
        self._lock = threading.Lock()
        self._holders: set[Waiter] = set()
        self._quietest: tuple[float, Waiter] | None = None
        self._looking: dict[str, set[Waiter]] = {}
        self._looks = Looks()
        self._refused_at = self._rises_at = float("-inf")

    @property
    def allowed(self) -> int:
        """How many calls may wait now: what was set, or less after the server has refused some."""
        return self._allowed

    @property
    def held(self) -> int:
        """How many readers have a waiting call."""
        return len(self._holders)

    @property
    def looked_at(self) -> int:
        """How many readers have none."""
        return sum(map(len, self._looking.values()))

    def set_most(self, most: int) -> None:
        """Set how many calls may wait at a time."""
        with self._lock:
            self._most = self._allowed = most
            self._fit()

    def takes(self, waiter: Waiter) -> bool:
        """Whether this reader's next call may wait; it keeps that until it leaves or gives way."""
        if waiter.holds:
            return True
        with self._lock:
            self._rise()
            if len(self._holders) >= self._allowed and not self._make_room(waiter):
                return False
            self._look_no_more(waiter)
            self._hold(waiter)
            return True

    def pause(self, waiter: Waiter) -> float:
        """Return how many seconds should lie between two looks of this reader's."""
        with self._lock:
            level = level_of(self.clock() - waiter.lively)
            if level != waiter.level:
                self._looks.move(waiter.level, level)
                waiter.level = level
            self._looking.setdefault(waiter.workflow_id, set()).add(waiter)
            return self._looks.interval(level)

    def reserve(self) -> float:
        """Return how many seconds from now there is room for another look."""
        with self._lock:
            return self._looks.reserve(self.clock())

    def leave(self, waiter: Waiter) -> None:
        """Count a reader no more."""
        with self._lock:
            self._holders.discard(waiter)
            waiter.holds = False
            self._look_no_more(waiter)

    def refused(self, waiter: Waiter) -> None:
        """Make do with what the server has let in, and leave a part of that to others."""
        with self._lock:
            now = self.clock()
            self._holders.discard(waiter)
            waiter.holds = False
            self._allowed = min(self._allowed, len(self._holders))
            if now - self._refused_at >= _BURST_SECONDS:
                self._allowed = int(self._allowed * (1 - _LEFT_FREE))
            self._refused_at, self._rises_at = now, now + _REST_SECONDS
            self._fit()

    def wake(self, workflow_id: str) -> None:
        """Have those readers of a workflow look at once that have no waiting call."""
        if workflow_id not in self._looking:
            return
        with self._lock:
            waiters = list(self._looking.get(workflow_id, ()))
        for waiter in waiters:
            waiter.wake_soon()

    def _rise(self) -> None:
        now = self.clock()
        if self._allowed < self._most and now >= self._rises_at:
            self._allowed = min(self._most, self._allowed + max(1, self._most // _RISES))
            self._rises_at = now + _RISE_SECONDS

    def _make_room(self, waiter: Waiter) -> bool:
        """Take a call from the stream that was quiet longest, if that is right; tell whether."""
        quietest = self._find_quietest()
        if quietest is None or len(self._holders) > self._allowed:
            return False
        if quietest.is_alive:
            settled = self.clock() - quietest.lively < _SETTLED_SECONDS
            if settled or quietest.lively >= waiter.lively:
                return False
        self._displace(quietest)
        return True

    def _fit(self) -> None:
        while len(self._holders) > self._allowed and (quietest := self._find_quietest()):
            self._displace(quietest)

    def _displace(self, waiter: Waiter) -> None:
        self._holders.discard(waiter)
        waiter.holds = False
        waiter.give_way()

    def _hold(self, waiter: Waiter) -> None:
        self._holders.add(waiter)
        waiter.holds = True
        if self._quietest is not None and waiter.lively < self._quietest[0]:
            self._quietest = waiter.lively, waiter

    def _find_quietest(self) -> Waiter | None:
        """Return the holder that was quiet longest; it is looked for only if it has changed."""
        if self._quietest is not None:
            lively, waiter = self._quietest
            if waiter in self._holders and waiter.lively == lively:
                return waiter
        found = min(self._holders, key=lambda each: each.lively, default=None)
        self._quietest = None if found is None else (found.lively, found)
        return found

    def _look_no_more(self, waiter: Waiter) -> None:
        self._looks.move(waiter.level, None)
        waiter.level = None
        others = self._looking.get(waiter.workflow_id)
        if others is not None:
            others.discard(waiter)
            if not others:
                del self._looking[waiter.workflow_id]


_budgets: WeakKeyDictionary[ServiceClient, dict[str, WaitingBudget]] = WeakKeyDictionary()
_budgets_lock = threading.Lock()


def budget_of(client: Client) -> WaitingBudget:
    """Return what all clients of a connection share in a namespace."""
    with _budgets_lock:
        by_namespace = _budgets.setdefault(client.service_client, {})
        if client.namespace not in by_namespace:
            by_namespace[client.namespace] = WaitingBudget()
        return by_namespace[client.namespace]


def wake_readers(client: Client, workflow_id: str) -> None:
    """Have this process's readers of a workflow look at once: something has come to it.

    They may read by another connection than what has come was sent by.
    """
    with _budgets_lock:
        budgets = [by_namespace.get(client.namespace) for by_namespace in _budgets.values()]
    for budget in budgets:
        if budget is not None:
            budget.wake(workflow_id)


def limit_waiting_calls(client: Client, calls: int = MOST_WAITING_CALLS) -> None:
    """Set how many calls that wait for events the readers of a connection make at a time.

    Each stream that is followed takes one such call, however many readers it has in the process.
    Where there are more streams than calls, those that were lively last have them, and the others
    are looked at in turn: every 4 s up to some 340 of them, more seldom beyond.

    A frontend of Temporal lets a namespace have 1,200 waiting calls at a time by default
    (``frontend.namespaceCount``), together with the polls of its workers. Where the server refuses
    a call, fewer are made for a while.

    Args:
        client: Temporal client; the limit holds for its connection and namespace.
        calls: How many, at least 1.

    Raises:
        UsageError: There would be none, or it is no int.
    """
    if not is_whole(calls) or calls < 1:
        raise UsageError(f"There has to be at least one waiting call, not {calls!r}")
    budget_of(client).set_most(calls)
