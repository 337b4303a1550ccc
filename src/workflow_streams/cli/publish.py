"""``workflow-streams publish``: publishes to a stream."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import Exit, epilog
from .options import WorkflowId, connecting, utf8
from .session import run

EPILOG = epilog(
    """\
workflow-streams publish order-1 news "rates held"
workflow-streams publish order-1 status --json '{"kind": "shipped"}'
workflow-streams publish order-1 temperature --json -- -4.5
tail -f app.log | workflow-streams publish order-1 log
workflow-streams publish order-1 news --offset <headlines.txt""",
    Exit.NOT_FOUND,
    Exit.NO_CONNECTION,
    Exit.UNDELIVERED,
    Exit.INTERRUPTED,
    Exit.STOPPED,
    Exit.OUTPUT_CLOSED,
)


@connecting
def publish(
    workflow_id: WorkflowId,
    topic: Annotated[
        str,
        typer.Argument(metavar="TOPIC", help="Topic to publish on.", callback=utf8),
    ],
    value: Annotated[
        str,
        typer.Argument(metavar="VALUE|-", help="The value; - for the lines of standard input."),
    ] = "-",
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Each value is JSON, published as it is.")
    ] = False,
    offset: Annotated[
        bool, typer.Option("--offset", help="Print each item's offset once it is in the stream.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=1, help="How long to try while the server does not answer."
        ),
    ] = 60.0,
) -> None:
    """Publish a value, or each line of standard input, to a stream.

    A value is published as text, and readers get a string. With --json it
    is JSON of any type, which is published byte for byte; blank lines are
    skipped.

    Lines are published as they come in, in order, and each exactly once,
    even if a request has to be repeated. At the first line that cannot be
    published the command stops, and says how many were delivered.
    """

    async def work() -> int:
        from .actions.publish import Publish, publish

        return await publish(
            Publish(
                workflow_id=workflow_id,
                topic=topic,
                value=None if value == "-" else value,
                as_json=json,
                offsets=offset,
                timeout_seconds=timeout,
            )
        )

    run(work, orderly_interrupt=True)
