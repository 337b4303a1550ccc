"""``workflow-streams dev``: a server of one's own."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from ..embedded import EmbeddedServer
from ..errors import WorkflowStreamError


def dev(
    *,
    port: Annotated[int, typer.Option(help="Port to serve on; 0 for a free one.")] = 7233,
    ui_port: Annotated[int, typer.Option(help="Port of the web page; 0 for a free one.")] = 8233,
    db: Annotated[
        Path | None, typer.Option(help="SQLite file to keep everything in. Default: memory.")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Without the web page.")] = False,
    namespace: Annotated[str, typer.Option(help="Namespace to create.")] = "default",
) -> None:
    """Run a Temporal server on this machine until Ctrl-C.

    Starts nothing if TEMPORAL_ADDRESS names a server already.

    Example: workflow-streams dev --db streams.db
    """
    address = os.environ.get("TEMPORAL_ADDRESS")
    if address:
        typer.echo(f"TEMPORAL_ADDRESS is set: using {address}; nothing is started.")
        return
    try:
        server = EmbeddedServer(
            port=port,
            ui=not headless,
            ui_port=ui_port,
            db_filename=db,
            namespace=namespace,
        )
        asyncio.run(_serve(server))
    except WorkflowStreamError as err:
        typer.echo(f"workflow-streams: {err}", err=True)
        raise typer.Exit(1) from None


async def _serve(server: EmbeddedServer) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    # The signals above are all that cancels this; a second one cuts the shutdown short.
    with suppress(asyncio.CancelledError):
        async with server:
            typer.echo(f"Temporal server   {server.address}")
            if server.ui_url:
                typer.echo(f"Web page          {server.ui_url}")
            typer.echo(f"Elsewhere         export TEMPORAL_ADDRESS={server.address}")
            typer.echo("Ctrl-C ends it.")
            output = await server.wait()
        typer.echo(
            f"workflow-streams: the server has ended by itself.\n{output}".rstrip(), err=True
        )
        raise typer.Exit(1)
