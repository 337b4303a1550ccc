"""Serves the gateway by uvicorn, on sockets that are set up to notice clients that read nothing."""

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
# How long an idle connection is kept for the client's next request. Clients and proxies close an
# idle connection themselves, usually after 5 s (httpx) to 60 s (load balancers). If the server
# closed it first, a request that is being sent at that moment would be lost.
_IDLE_SECONDS = 75
# How much unsent data the operating system may hold for one connection.
_UNSENT_BYTES = 128 * 1024
# Thresholds of Python's garbage collector, one for each generation.
_COLLECTIONS = (50_000, 20, 50)


class GatewayServer(uvicorn.Server):
    """A uvicorn server that ends event streams before it waits for connections to end.

    uvicorn ends the application only after all connections have ended, and an event stream would
    go on for up to an hour.
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
    """Return a server for an application made by ``create_app``, with that application's settings.

    Args:
        app: The application.
        **options: Further arguments of ``uvicorn.Config``; they override those made here.

    Raises:
        UsageError: The application was not made by ``create_app``.
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
    """Return a socket to serve on, if the gateway may listen at this address.

    Args:
        host: Address to listen on.
        port: Port; 0 for a free one.
        settings: The gateway's settings.

    Raises:
        InsecureListenError: Other machines could reach it, and it has no login.
        OSError: The address is taken, or does not belong to this machine.
    """
    check_listening(host, settings.security)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # The kernel ends a connection if sent data is not acknowledged for this long. That
            # rids it of what is left to send to a client that the gateway has given up on.
            milliseconds = int(settings.write_seconds * 2000)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # Without this, the system buffers megabytes for a client that reads nothing, and the
            # gateway notices only when that buffer is full.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return a function that makes event loops for a server; None for asyncio's own loop.

    Where uvloop is installed, its loop is used, as uvicorn's own command does.
    """
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    return new_event_loop


def collect_rarely() -> None:
    """Collect garbage less often; call this in a process that does nothing but serve.

    Each collection stops the whole process, and takes longer the more viewers there are: tens of
    milliseconds with 1,000. Most of what serving leaves behind is freed by reference counting,
    without a collection.
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
    """Serve until SIGINT or SIGTERM, with the settings of the application.

    Args:
        app: Made by ``create_app``.
        host: Address to listen on; anything but the loopback needs a login.
        port: Port to listen on.
        **options: Further arguments of ``uvicorn.Config``.

    Raises:
        UsageError: The application was not made by ``create_app``.
        InsecureListenError: Other machines could reach it, and it has no login.
        OSError: The address is taken, or does not belong to this machine.
    """
    server = server_of(app, **options)
    with listen(host, port, _gateway_in(app).settings) as listening:
        await server.serve([listening])
