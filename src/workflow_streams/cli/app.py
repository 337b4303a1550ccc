"""The command line, made of its commands."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from . import demo, dev, gateway, inspection, ls, publish, tail
from .exits import epilog
from .help import Command

EPILOG = epilog(
    """\
workflow-streams dev                     # in one terminal: all you need
export TEMPORAL_ADDRESS=127.0.0.1:7233   # in another
workflow-streams demo order
workflow-streams ls
workflow-streams tail ID"""
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog=EPILOG,
)
for module, command in (
    (dev, dev.dev),
    (demo, demo.demo),
    (tail, tail.tail),
    (publish, publish.publish),
    (ls, ls.ls),
    (inspection, inspection.inspect),
    (gateway, gateway.gateway),
):
    app.command(cls=Command, epilog=module.EPILOG)(command)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"workflow-streams {version('workflow-streams')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Durable event streams for Temporal workflows.

    The server is found by Temporal's own settings: TEMPORAL_ADDRESS,
    TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, profiles and so on; commands that
    connect have options for them. Output is plain text or, with --json,
    JSON; colours are for terminals only, and NO_COLOR turns them off.
    """
