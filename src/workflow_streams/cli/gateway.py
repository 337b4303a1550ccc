"""``workflow-streams gateway``: serves streams over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Literal

import typer

from .exits import Exit, epilog
from .gateway_options import PREFIX, limiting, securing, timing
from .options import connecting
from .session import run

EPILOG = epilog(
    """\
workflow-streams gateway
workflow-streams gateway --host 0.0.0.0 --jwt-secret-file secret.txt
workflow-streams gateway --sse-seconds 300 --max-requests-per-second 50
curl -N 'http://127.0.0.1:8080/v1/stream/order-1?offset=-1&live=sse'""",
    Exit.NO_CONNECTION,
)


@connecting
@timing
@limiting
@securing
def gateway(
    *,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address; beyond loopback only with a login.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 for a free one.")
    ] = 8080,
    worker: Annotated[
        bool,
        typer.Option(
            "--worker/--no-worker",
            envvar=f"{PREFIX}HOST_WORKER",
            show_envvar=False,
            help="Also run the worker of streams made by PUT.",
        ),
    ] = True,
    logs: Annotated[
        Literal["text", "json"],
        typer.Option(metavar="text|json", help="How to log, on standard error."),
    ] = "text",
) -> None:
    """Serve streams over HTTP, and the page that shows them.

    One URL per stream, /v1/stream/ID, speaks the Durable Streams
    protocol: catch-up, long poll and server-sent events, for browsers and
    any language. Ctrl-C ends it; each reader is told where to resume.

    Without a login it listens on loopback addresses only. While Temporal
    cannot be reached, it runs but is not ready (/readyz).
    """

    async def work() -> int:
        from .actions.gateway import serve_gateway

        return await serve_gateway(host, port, with_worker=worker, logs=logs)

    run(work, orderly_interrupt=True, loop_factory=_fast_loop())


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        from ..gateway.server import fast_loop
    except ModuleNotFoundError:
        return None  # the action will say what is not installed
    return fast_loop()
