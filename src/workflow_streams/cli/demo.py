"""``workflow-streams demo``: see the five scenarios run."""

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
        list[Scenario] | None, typer.Argument(metavar="SCENARIO", help="Which; default: all.")
    ] = None,
) -> None:
    r"""Run the sample scenarios, one after the other, and check each.

    \b
    order     two typed topics, fed by a workflow and its activity
    pipeline  a reader leaves, comes back and resumes where it was
    hub       a service publishes into a workflow that only hosts
    ticker    a ring buffer; a slow reader is told what it missed
    llm       tokens as they come; a killed worker's half answer is
              taken back

    A Temporal server is started for them, unless --address or the
    environment names one. The last one asks the provider of
    OPENAI_API_KEY; without a key, a small model on this machine.
    """

    async def work() -> int:
        names = [one.value for one in scenario or Scenario]
        script = require_samples() / "demo.py"
        if "llm" in names and (missing := missing_for_llm()):
            raise ActionError(
                f"The scenario llm needs {', '.join(missing)}: "
                "pip install 'workflow-streams[samples]'"
            )
        # In place of this process: Ctrl-C and the exit status are the demo's own.
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, str(script), *names])  # noqa: S606 (own script)

    run(work)
