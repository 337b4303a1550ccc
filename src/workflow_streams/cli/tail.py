"""``workflow-streams tail``: follow a stream."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Exit, epilog
from .options import Json, RunId, WorkflowId, connecting
from .session import run

if TYPE_CHECKING:
    from ..events import Last

EPILOG = epilog(
    """\
workflow-streams tail order-1
workflow-streams tail order-1 --topic status --from latest
workflow-streams tail order-1 --from -10 --no-follow
workflow-streams tail order-1 --json | jq -c 'select(.type == "item") | .data'""",
    Exit.NOT_FOUND,
    Exit.NO_CONNECTION,
    Exit.FAILED,
    Exit.CANCELED,
    Exit.TERMINATED,
    Exit.TIMED_OUT,
    Exit.INTERRUPTED,
    Exit.OUTPUT_CLOSED,
)


@connecting
def tail(
    workflow_id: WorkflowId,
    *,
    topic: Annotated[
        list[str] | None,
        typer.Option("--topic", "-t", metavar="TOPIC", help="Only this topic; may be repeated."),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="N|latest|-N",
            help="Start at offset N, at the head, or N items back. 0: the earliest item there is.",
        ),
    ] = "0",
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for more, or stop at the head.")
    ] = True,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Show when the server took each item in.")
    ] = False,
    json: Json = False,
    run_id: RunId = None,
) -> None:
    """Show a stream's items as they come, until it ends.

    Needs no worker, and shows streams that have ended as well. Each line
    is an item: offset, topic, value. Lines that begin with -- tell of
    gaps (items that are gone), of rewinds (items that no longer count,
    since an activity or the workflow was started again) and of the end.

    With --json each line is an object whose "type" is item, undecodable,
    gap, rewind or end. An item has offset, topic, time and data; where it
    is no JSON, there is an "encoding" too, and data is base64.
    """
    place = start_of(start)

    async def work() -> int:
        from .actions.tail import Tail, tail

        return await tail(
            Tail(
                workflow_id=workflow_id,
                run_id=run_id,
                topics=topic or [],
                start=place,
                follow=follow,
                as_json=json,
                timestamps=timestamps,
            )
        )

    run(work)


def start_of(text: str) -> int | Last:
    """Return where ``--from`` says to start.

    Raises:
        BadParameter: It says no such place.
    """
    from ..events import LATEST, Last

    if text == "latest":
        return LATEST
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return Last(int(text[1:])) if text.startswith("-") else int(text)
    raise typer.BadParameter(
        "it is an offset, 'latest', or -N for N items back", param_hint="--from"
    )
