"""``workflow-streams dev``: runs everything on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .exits import epilog
from .options import utf8_id
from .session import run

EPILOG = epilog(
    """\
workflow-streams dev
workflow-streams dev --db streams.db
workflow-streams dev --port 0 --gateway-port 0 --headless --no-workers"""
)


def dev(
    *,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="PORT", help="Port of the server; 0 for a free one."
        ),
    ] = 7233,
    ui_port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port of Temporal's web page.")
    ] = 8233,
    headless: Annotated[
        bool, typer.Option("--headless", help="Without Temporal's web page.")
    ] = False,
    gateway_port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="PORT", help="Port of the gateway and its viewer."),
    ] = 8080,
    gateway: Annotated[
        bool, typer.Option("--gateway/--no-gateway", help="Whether to run the gateway.")
    ] = True,
    workers: Annotated[
        bool, typer.Option("--workers/--no-workers", help="Whether to run the samples' workers.")
    ] = True,
    db: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep everything in this SQLite file, not in memory."),
    ] = None,
    namespace: Annotated[
        str, typer.Option(metavar="NAME", help="Namespace to create.", callback=utf8_id)
    ] = "default",
) -> None:
    """Run everything that streams need on this machine, until Ctrl-C.

    A Temporal server with its web page, the gateway with the page that
    shows streams, and the workers of the samples: start their runners
    (samples/run_*.py) and watch. A worker that is killed is started
    again, so that you can see what readers are told then.

    If TEMPORAL_ADDRESS names a server already, that one is used.
    """

    async def work() -> int:
        from .actions.dev import Dev, dev

        return await dev(
            Dev(
                port=port,
                ui_port=None if headless else ui_port,
                db=db,
                namespace=namespace,
                gateway_port=gateway_port if gateway else None,
                workers=workers,
            )
        )

    run(work, orderly_interrupt=True)
