"""``workflow-streams demo``: runs the five scenarios."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from .exits import Exit, epilog
from .options import connecting
from .samples import missing_for_llm, require_samples
from .session import ActionError, run

EPILOG = epilog(
    """\
workflow-streams demo
workflow-streams demo order ticker
OPENAI_API_KEY=... workflow-streams demo llm""",
    Exit.INTERRUPTED,
)


class Scenario(StrEnum):
    """The scenarios, by name."""

    ORDER = "order"
    PIPELINE = "pipeline"
    HUB = "hub"
    TICKER = "ticker"
    LLM = "llm"


@connecting
def demo(
    scenario: Annotated[
        list[Scenario] | None, typer.Argument(metavar="SCENARIO", help="Which ones; default: all.")
    ] = None,
) -> None:
    """Run the sample scenarios, one after the other, and check each.

    \b
    order     two typed topics, fed by a workflow and its activity
    pipeline  a reader leaves, comes back and resumes where it was
    hub       a service publishes to a workflow that only hosts a stream
    ticker    a ring buffer; a slow reader is told what it missed
    llm       tokens as they come; when a worker is killed, its half
              answer is taken back

    A Temporal server is started for them, unless --address or the
    environment names one. The last scenario asks the provider of
    OPENAI_API_KEY or, without a key, a small model on this machine.
    """  # noqa: D301 (the backspace itself tells click to keep these lines)

    async def work() -> int:
        names = [one.value for one in scenario or Scenario]
        script = require_samples() / "demo.py"
        if "llm" in names and (missing := missing_for_llm()):
            raise ActionError(
                f"The scenario llm needs {', '.join(missing)}: "
                "pip install 'workflow-streams[samples]'"
            )
        # The demo replaces this process, so that it handles Ctrl-C and sets the exit status.
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, str(script), *names])  # noqa: S606 (own script)

    run(work)
