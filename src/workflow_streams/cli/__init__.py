"""The command ``workflow-streams``. One file per command; needs the extra ``cli``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from .app import app
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] not in {"typer", "rich"}:
            raise
        sys.exit(
            f"workflow-streams: {err.name} is not installed. "
            "Install the command line with: pip install 'workflow-streams[cli]'"
        )
    app(prog_name="workflow-streams")
