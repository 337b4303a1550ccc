"""The command `workflow-streams`. One file per command; needs the extra `cli`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from .app import app
    except ImportError as err:
        sys.exit(
            f"workflow-streams: {err.name} is missing. "
            "Install the command line with: pip install 'workflow-streams[cli]'"
        )
    app()
