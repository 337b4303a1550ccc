"""``workflow-streams ls``: lists streams."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import Exit, epilog
from .options import Json, connecting, utf8
from .session import run

EPILOG = epilog(
    """\
workflow-streams ls --running
workflow-streams ls --contrib OrderWorkflow
workflow-streams ls --query "StartTime > '2026-01-01T00:00:00Z'"
workflow-streams ls --json | jq -r .workflow_id""",
    Exit.NO_CONNECTION,
    Exit.INTERRUPTED,
    Exit.OUTPUT_CLOSED,
)


@connecting
def ls(
    *,
    running: Annotated[bool, typer.Option("--running", help="Only running streams.")] = False,
    closed: Annotated[bool, typer.Option("--closed", help="Only streams that have ended.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Both; the default.")] = False,
    contrib: Annotated[
        list[str] | None,
        typer.Option(
            "--contrib",
            metavar="TYPE",
            help="Also workflows of this type, which temporalio.contrib hosts; may be repeated.",
            callback=utf8,
        ),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            "--query",
            "-q",
            metavar="QUERY",
            help="Only those that this list filter finds.",
            callback=utf8,
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many to show at most; 0 for all.")
    ] = 100,
    json: Json = False,
) -> None:
    """List streams: running ones first, then those that ended last.

    A stream is found by its workflow, in Temporal's visibility store, which
    may be a second behind. Streams of temporalio's contrib package cannot
    be recognised there, so name their workflow types.

    Each line is a stream, not a run of its workflow. The size of the last
    run's history is known once the workflow has ended.
    """
    if running + closed + everything > 1:
        raise typer.BadParameter("give one of them", param_hint="--running, --closed, --all")

    async def work() -> int:
        from .actions.ls import Listing, list_streams

        return await list_streams(
            Listing(
                state="running" if running else "closed" if closed else "all",
                contrib=contrib or [],
                query=query,
                limit=limit or None,
                as_json=json,
            )
        )

    run(work)
