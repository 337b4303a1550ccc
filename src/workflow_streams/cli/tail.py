"""``workflow-streams tail``: follows a stream."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Exit, epilog
from .options import Json, RunId, WorkflowId, connecting, utf8
from .session import run

if TYPE_CHECKING:
    from ..read.starts import Start

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
        typer.Option(
            "--topic",
            "-t",
            metavar="TOPIC",
            help="Only this topic; may be repeated.",
            callback=utf8,
        ),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="N|latest|-N|POSITION",
            help="Start at offset N, at the head, N items back, or after an item whose position "
            "--json has shown. 0: the earliest item there is.",
        ),
    ] = "0",
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for more, or stop at the head.")
    ] = True,
    wait: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Wait for a workflow that is not there yet."),
    ] = 0,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Show when the server received each item.")
    ] = False,
    json: Json = False,
    run_id: RunId = None,
) -> None:
    """Show a stream's items as they come, until it ends.

    This needs no worker, and also shows streams that have ended. Each line
    is an item: offset, topic, value. Lines that begin with -- tell of
    gaps (items that are gone), of rewinds (items that no longer count,
    since an activity or the workflow was started again) and of the end.

    With --json each line is an object whose "type" is item, undecodable,
    gap, rewind or end. An item has offset, topic, time and data; if it is
    not JSON, it also has an "encoding", and data is base64. The "position"
    of each line is where to go on after it, with --from. Unlike an offset,
    it also shows whether the stream was started anew meanwhile.
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
                wait_seconds=wait,
                as_json=json,
                timestamps=timestamps,
            )
        )

    run(work)


def start_of(text: str) -> Start:
    """Return where ``--from`` says to start.

    Raises:
        BadParameter: It is not such a place.
    """
    from ..errors import InvalidOffsetError
    from ..events import LATEST, Last
    from ..log.positions import parse_position

    if text == "latest":
        return LATEST
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return Last(int(text[1:])) if text.startswith("-") else int(text)
    try:
        return parse_position(text)
    except InvalidOffsetError:
        raise typer.BadParameter(
            "it is an offset, 'latest', -N for N items back, or a position", param_hint="--from"
        ) from None
