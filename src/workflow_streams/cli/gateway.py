"""``workflow-streams gateway``: streams over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Literal

import typer

from .exits import Exit, epilog
from .options import Environment, connecting
from .session import run

EPILOG = epilog(
    """\
workflow-streams gateway
workflow-streams gateway --host 0.0.0.0 --jwt-secret-file secret.txt
curl -N 'http://127.0.0.1:8080/v1/stream/order-1?offset=-1&live=sse'""",
    Exit.NO_CONNECTION,
)

# Secrets come by files or variables alone: options are visible to everybody on the machine.
securing = Environment("Security options")
securing.file("--jwt-secret-file", "WORKFLOW_STREAMS_JWT_SECRET_FILE", "Secret of bearer tokens.")
securing.file("--jwt-public-key-file", "WORKFLOW_STREAMS_JWT_PUBLIC_KEY_FILE", "Their public key.")
securing.file("--jwks-file", "WORKFLOW_STREAMS_JWKS_FILE", "Their public keys, as JWKS.")
securing.text("--jwt-audience", "WORKFLOW_STREAMS_JWT_AUDIENCE", "NAME", "What aud must name.")
securing.text("--jwt-issuer", "WORKFLOW_STREAMS_JWT_ISSUER", "NAME", "What iss must be.")
securing.text("--jwt-claim", "WORKFLOW_STREAMS_JWT_CLAIM", "NAME", "Claim that holds the rules.")
securing.file(
    "--url-signing-key-file", "WORKFLOW_STREAMS_URL_SIGNING_KEY_FILE", "Key of signed URLs."
)
securing.text(
    "--allowed-hosts", "WORKFLOW_STREAMS_ALLOWED_HOSTS", "NAME,...", "Names it may be called by."
)
securing.text(
    "--cors-origins", "WORKFLOW_STREAMS_CORS_ORIGINS", "URL,...", "Sites whose pages may use it."
)
securing.text(
    "--frame-ancestors", "WORKFLOW_STREAMS_FRAME_ANCESTORS", "URL,...", "Sites that may embed it."
)
securing.switch(
    "--allow-anonymous", "WORKFLOW_STREAMS_ALLOW_ANONYMOUS", "Serve everybody, without login."
)


@connecting
@securing
def gateway(
    *,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; beyond loopback with a login.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 for a free one.")
    ] = 8080,
    worker: Annotated[
        bool,
        typer.Option("--worker/--no-worker", help="Also run the worker of streams made by PUT."),
    ] = True,
    logs: Annotated[
        Literal["text", "json"],
        typer.Option(metavar="text|json", help="How to log, on standard error."),
    ] = "text",
) -> None:
    """Serve streams over HTTP, and the page that shows them.

    One URL per stream, /v1/stream/ID, speaks the Durable Streams
    protocol: catch-up, long poll and server-sent events, for browsers and
    any language. Ctrl-C ends it; each reader gets a place to go on at.

    Without a login it listens on loopback addresses only. While Temporal
    is not reachable it is up, and not ready (/readyz).
    """

    async def work() -> int:
        from .actions.gateway import serve_gateway

        return await serve_gateway(host, port, with_worker=worker, logs=logs)

    run(work, orderly_interrupt=True, loop_factory=_fast_loop())


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        from ..gateway.server import fast_loop
    except ModuleNotFoundError:
        return None  # the action is about to say what is not installed
    return fast_loop()
