"""The commands, put together."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from . import demo, dev, gateway, inspection, ls, publish, tail
from .help import Command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
app.command(cls=Command, epilog=tail.EPILOG)(tail.tail)
app.command(cls=Command, epilog=publish.EPILOG)(publish.publish)
app.command(cls=Command, epilog=ls.EPILOG)(ls.ls)
app.command(cls=Command, epilog=inspection.EPILOG)(inspection.inspect)
app.command(cls=Command, epilog=demo.EPILOG)(demo.demo)
app.command(cls=Command, epilog=gateway.EPILOG)(gateway.gateway)
app.command(cls=Command, epilog=dev.EPILOG)(dev.dev)


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
    """Durable event streams for Temporal workflows."""
