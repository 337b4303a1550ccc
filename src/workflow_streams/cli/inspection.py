"""``workflow-streams inspect``: shows everything that is known about a stream."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import Exit, epilog
from .options import RunId, WorkflowId, connecting
from .session import run

EPILOG = epilog(
    """\
workflow-streams inspect order-1
workflow-streams inspect order-1 --json | jq .head""",
    Exit.NOT_FOUND,
    Exit.NO_CONNECTION,
    Exit.INTERRUPTED,
    Exit.OUTPUT_CLOSED,
)


@connecting
def inspect(
    workflow_id: WorkflowId,
    *,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    run_id: RunId = None,
) -> None:
    """Show everything that is known about a stream.

    Its head (the offset that the next item gets) and base (the lowest
    offset that is retained), the state of its workflow or how it ended,
    its runs and where in the stream each begins, the topics and
    publishers of the current run, and the attempts of the activities
    that publish.

    Reads the history of the current run; a worker is needed only for
    streams that temporalio's contrib package hosts.
    """

    async def work() -> int:
        from .actions.inspection import inspect

        return await inspect(workflow_id, run_id, as_json=json)

    run(work)
