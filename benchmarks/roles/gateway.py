"""Serves a gateway."""

from __future__ import annotations

from functools import partial

from workflow_streams import connect
from workflow_streams.gateway import GatewaySettings, LimitSettings, create_app
from workflow_streams.gateway.server import collect_rarely, listen, server_of

from .talk import Talk


async def run(talk: Talk, *, address: str, viewers: int, write_seconds: float = 30) -> None:
    """Serve until ended; say the port.

    Args:
        talk: The benchmark.
        address: The Temporal server.
        viewers: How many connections there may be.
        write_seconds: How long one may take nothing in.
    """
    settings = GatewaySettings(
        sse_seconds=3600,
        write_seconds=write_seconds,
        limits=LimitSettings(
            max_connections=viewers + 100, max_connections_per_client=viewers + 50
        ),
    )
    app = create_app(partial(connect, target_host=address, namespace="default"), settings)
    collect_rarely()
    with listen("127.0.0.1", 0, settings) as listening:
        talk.say(port=listening.getsockname()[1])
        await server_of(app).serve([listening])
