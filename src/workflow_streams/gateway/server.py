"""Serves the gateway by uvicorn, from sockets that it knows how to let go of."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette

from ..errors import UsageError
from .connections import server_options
from .security import check_listening
from .sessions import Gateway
from .settings import GatewaySettings

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080

_BACKLOG = 2048
# How long an idle connection is kept for the client's next request. Clients and proxies drop one
# that has been idle for their own time, 5 s (httpx) to 60 s (load balancers) as a rule. If the
# server were to close it first, a request that is just being sent would be lost.
_IDLE_SECONDS = 75
# What the system may hold of a connection beside what is on its way.
_UNSENT_BYTES = 128 * 1024
# Allocations and collections after which Python looks for garbage, and looks further.
_COLLECTIONS = (50_000, 20, 50)


class GatewayServer(uvicorn.Server):
    """A uvicorn server that sends viewers away before it waits for them to go.

    uvicorn ends the application only when all connections have ended, and an event stream does
    not end by itself for an hour.
    """

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        """Serve ``gateway`` as ``config`` says."""
        super().__init__(config)
        self._gateway = gateway

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Give each viewer a place to resume at, then stop as uvicorn does."""
        self._gateway.close_viewers()
        await super().shutdown(sockets)


def server_of(app: Starlette, **options: Any) -> GatewayServer:
    """Return a server for an application made by ``create_app``, by that one's settings.

    Args:
        app: The application.
        **options: Further arguments of ``uvicorn.Config``, which win.

    Raises:
        UsageError: It was not made by ``create_app``.
    """
    gateway = _gateway_in(app)
    config = {
        **server_options(gateway.settings.limits, gateway.settings.write_seconds),
        "timeout_keep_alive": _IDLE_SECONDS,
        "timeout_graceful_shutdown": gateway.settings.shutdown_seconds,
        "lifespan": "on",
        **options,
    }
    return GatewayServer(uvicorn.Config(app, **config), gateway)


def _gateway_in(app: Starlette) -> Gateway:
    gateway = getattr(app.state, "gateway", None)
    if not isinstance(gateway, Gateway):
        raise UsageError("only what create_app has made can be served; mount it into others")
    return gateway


def listen(host: str, port: int, settings: GatewaySettings) -> socket.socket:
    """Return a socket to serve on, once it is clear that the gateway may serve there.

    Args:
        host: Address to listen on.
        port: Port; 0 for a free one.
        settings: The gateway's.

    Raises:
        InsecureListenError: Others could reach it, and it has no login.
        OSError: The address is taken or not of this machine.
    """
    check_listening(host, settings.security)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # What is left for a client that has been let go, since it takes nothing in.
            milliseconds = int(settings.write_seconds * 2000)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # Else the system takes megabytes for a client that takes nothing in, and it is
            # noticed only when those are full.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes event loops for a server; None for asyncio's own.

    They are uvloop's where that is installed, as with uvicorn's own command.
    """
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    return new_event_loop


def collect_rarely() -> None:
    """Have this process look for garbage less often; for one that does nothing but serve.

    Each look stops all that the process does, and takes longer the more viewers there are: tens
    of milliseconds with 1,000. What serving leaves behind is freed without it, for the most
    part.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTIONS)


async def serve(
    app: Starlette,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    **options: Any,
) -> None:
    """Serve until SIGINT or SIGTERM, by the settings of the application.

    Args:
        app: Made by ``create_app``.
        host: Address to listen on; anything but the loopback needs a login.
        port: Port to listen on.
        **options: Further arguments of ``uvicorn.Config``.

    Raises:
        UsageError: It was not made by ``create_app``.
        InsecureListenError: Others could reach it, and it has no login.
        OSError: The address is taken or not of this machine.
    """
    server = server_of(app, **options)
    with listen(host, port, _gateway_in(app).settings) as listening:
        await server.serve([listening])
