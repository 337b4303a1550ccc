"""Limits on how often a client may ask: requests per second, by address and by subject."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from starlette.types import ASGIApp, Receive, Scope, Send

from ..refusals import TooManyRequestsError
from ..refusals.responses import refuse
from .limit_settings import LimitSettings
from .limits import client_in, route_path

MOST_CLIENTS = 10_000
"""How many clients are remembered. Beyond that, the one that has been silent for longest is
forgotten, and may ask as if for the first time."""

LONGEST_CLIENT = 100
"""How many characters a client's name may have, including its kind; a hash replaces longer ones."""

# These cost almost nothing, and whatever polls them may kill a process that does not answer.
_UNCOUNTED = frozenset({"/healthz", "/readyz"})


class RequestRates:
    """A token bucket for each client: it fills at a fixed rate, up to the size of a burst."""

    def __init__(
        self,
        per_second: float,
        burst: int,
        *,
        most_clients: int = MOST_CLIENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with full buckets.

        Args:
            per_second: How many requests a client may make in the long run.
            burst: How many requests may come at once, after a silence.
            most_clients: How many clients are remembered.
            clock: A monotonic clock, in seconds.
        """
        self._per_second = per_second
        self._burst = float(burst)
        self._most_clients = most_clients
        self._clock = clock
        # What was in the bucket, and when; in the order in which the clients last asked.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def clients(self) -> int:
        """How many clients are remembered."""
        return len(self._buckets)

    def take(self, client: str) -> None:
        """Count a request.

        Args:
            client: Identifies the client, such as ``"subject ann"``. If it is empty, nothing is
                counted.

        Raises:
            TooManyRequestsError: This client has asked too often. The request is not counted.
        """
        if not client:
            return
        client = _short(client)
        now = self._clock()
        left = self._left(self._buckets.get(client, (self._burst, now)), now)
        if left < 1:
            raise TooManyRequestsError(math.ceil((1 - left) / self._per_second))
        self._buckets[client] = (left - 1, now)
        self._buckets.move_to_end(client)
        self._forget(now)

    def _left(self, bucket: tuple[float, float], now: float) -> float:
        left, at = bucket
        return min(self._burst, left + (now - at) * self._per_second)

    def _forget(self, now: float) -> None:
        """Keep the table small. A full bucket can go, since a new one is full, too."""
        for _ in range(2):  # one more than a request can have added
            oldest = next(iter(self._buckets))
            full = self._left(self._buckets[oldest], now) >= self._burst
            if not full and len(self._buckets) <= self._most_clients:
                return
            del self._buckets[oldest]


def _short(client: str) -> str:
    """Return a client's name, or a hash if it is so long that it would take much room."""
    if len(client) <= LONGEST_CLIENT:
        return client
    return sha256(client.encode(errors="surrogatepass")).hexdigest()


def rates_of(settings: LimitSettings) -> RequestRates | None:
    """Return the rates for these settings; None if they set no limit."""
    per_second = settings.max_requests_per_second
    return None if per_second is None else RequestRates(per_second, settings.max_request_burst)


class RateMiddleware:
    """Counts requests by address; the authority then counts them by subject."""

    def __init__(self, app: ASGIApp, rates: RequestRates | None) -> None:
        """Wrap ``app``; without ``rates`` there is no limit."""
        self._app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through unless its client asks too often."""
        rates = self._rates
        if rates is None or scope["type"] != "http" or route_path(scope) in _UNCOUNTED:
            await self._app(scope, receive, send)
            return
        try:
            rates.take(client_in(scope))
        except TooManyRequestsError as refusal:
            await refuse(refusal, scope, send)
            return
        scope.setdefault("state", {})["rates"] = rates
        await self._app(scope, receive, send)


def count_for_subject(scope: Scope, client: str) -> None:
    """Count a request, once, for the subject that its credentials name.

    Raises:
        TooManyRequestsError: This subject has asked too often.
    """
    state = scope.setdefault("state", {})
    # A fork asks for two permissions, but is one request. So the rates are removed after the first.
    rates: RequestRates | None = state.pop("rates", None)
    if rates is not None:
        rates.take(client)
