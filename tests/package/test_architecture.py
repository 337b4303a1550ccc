"""ARCHITECTURE.md has each module in the room where it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .test_rooms import MODULES, ROOT

PAGE = (ROOT / "ARCHITECTURE.md").read_text()
# Folders with a row of their own, whose files speak for themselves.
WHOLE = ("cli", "embedded", "testing", "gateway.viewer", "gateway.openapi", "gateway.security")


@pytest.mark.parametrize(
    "module",
    [
        name
        for name in MODULES
        if not name.startswith(WHOLE) and not name.split(".")[-1].startswith("__")
    ],
)
def test_each_module_has_its_row(module: str) -> None:
    path = Path(*module.split("."))
    file, folder = f"{path.name}.py", path.parent.name
    rows = [line for line in PAGE.splitlines() if re.search(rf"`([a-z_/]+/)?{file}`", line)]
    if len(path.parts) > 2:
        rows = [line for line in rows if f"{folder}/" in line]
    assert rows or f"{file}  " in PAGE


def test_no_row_names_a_file_that_is_not_there() -> None:
    named = {Path(name).name for name in re.findall(r"`([a-z_/]+\.py)`", PAGE)}
    assert named <= {path.name for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
