"""Limits on what a client may ask for: URL, header fields, body, connections."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from ..refusals import (
    BodyTooLargeError,
    HeadersTooLargeError,
    NoRoomForBodyError,
    OverloadedError,
    RefusedError,
    TooManyConnectionsError,
    UrlTooLongError,
)
from ..refusals.problems import NoStreamError
from ..refusals.responses import Sending, refuse
from ..requests.paths import is_literal
from .incoming import BodyRoom, IncomingBody, check_body_size
from .limit_settings import LimitSettings

# A gateway at its limit must not be restarted because of that, and its metrics should still show
# what it is busy with.
_ALWAYS_ANSWERED = frozenset({"/healthz", "/readyz", "/metrics"})


class ConnectionLimits:
    """Counts open connections, overall and by client."""

    def __init__(self, settings: LimitSettings) -> None:
        """Start with none open."""
        self._settings = settings
        self._by_client: Counter[str] = Counter()
        self.open = 0

    @contextmanager
    def connection(self, address: str | None) -> Iterator[None]:
        """Count a connection while it lasts.

        Args:
            address: The client's address. None, for a Unix socket, counts only towards the
                overall number.

        Raises:
            OverloadedError: There are too many connections overall.
            TooManyConnectionsError: There are too many from this address.
        """
        if self.open >= self._settings.max_connections:
            raise OverloadedError("The gateway has as many connections as it accepts; try later.")
        with self.of_client(client_at(address)):
            self.open += 1
            try:
                yield
            finally:
                self.open -= 1

    @contextmanager
    def of_client(self, client: str) -> Iterator[None]:
        """Count a connection for a client while it lasts, but not towards the overall number.

        Args:
            client: Identifies the client, such as ``"subject ann"``. If it is empty, nothing is
                counted.

        Raises:
            TooManyConnectionsError: This client has too many already.
        """
        if not client:
            yield
            return
        limit = self._settings.max_connections_per_client
        if self._by_client[client] >= limit:
            raise TooManyConnectionsError(f"One client may have {limit} connections at once.")
        self._by_client[client] += 1
        try:
            yield
        finally:
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]

    @property
    def clients(self) -> int:
        """How many clients have open connections."""
        return len(self._by_client)

    def count_of(self, client: str) -> int:
        """Return how many connections a client has."""
        return self._by_client.get(client, 0)


def client_at(address: str | None) -> str:
    """Return the client that an address is counted for; empty if there is no address."""
    return f"address {network_of(address)}" if address else ""


def client_in(scope: Scope, subject: str = "") -> str:
    """Return the client that sends a request: its address, or else its subject."""
    client = scope.get("client")
    return client_at(client[0] if client else None) or subject


def network_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def check_head(scope: Scope, settings: LimitSettings) -> None:
    """Refuse a request whose URL, header fields or announced body are over the limits.

    Raises:
        NoStreamError: 404; the path is percent encoded where it must not be.
        UrlTooLongError: 414.
        HeadersTooLargeError: 431.
        BodyTooLargeError: 413.
    """
    path = scope.get("raw_path") or scope["path"].encode()
    if len(path) + len(scope["query_string"]) > settings.max_url_bytes:
        raise UrlTooLongError(f"Path and query have at most {settings.max_url_bytes:,} bytes.")
    if not is_literal(scope):
        raise NoStreamError("There is nothing at this path.")
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > settings.max_headers or size > settings.max_header_bytes:
        raise HeadersTooLargeError(
            f"A request has at most {settings.max_headers} header fields and "
            f"{settings.max_header_bytes:,} bytes of them."
        )
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            check_body_size(int(value[:20]), settings)


def route_path(scope: Scope) -> str:
    """Return the request's path below the application's mount point."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class LimitMiddleware:
    """Enforces the limits on every request."""

    def __init__(
        self,
        app: ASGIApp,
        settings: LimitSettings,
        connections: ConnectionLimits,
        room: BodyRoom | None = None,
    ) -> None:
        """Wrap ``app``; without ``room``, create one of the size that the settings say."""
        self._app = app
        self._settings = settings
        self._connections = connections
        self._room = room or BodyRoom(settings.max_total_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with the limit that it exceeds."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = IncomingBody(receive, self._settings, self._room)
        sending = Sending(send)
        try:
            check_head(scope, self._settings)
            if route_path(scope) in _ALWAYS_ANSWERED:
                await self._app(scope, body.receive, sending)
                return
            client = scope.get("client")
            with self._connections.connection(client[0] if client else None):
                await self._app(scope, body.receive, sending)
        except RefusedError as refusal:
            if sending.started:
                raise
            still_sent = isinstance(refusal, BodyTooLargeError | NoRoomForBodyError)
            await refuse(refusal, scope, send, before_end=body.drain if still_sent else None)
        finally:
            body.close()
