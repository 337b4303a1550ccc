"""Users' type checkers see the types of topics, items and events."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
TYPED_USE = "tests/package/typed_use.py"
CHECKERS = {
    "mypy": ["-m", "mypy", "--strict", "--warn-unused-ignores", TYPED_USE],
    "pyright": ["-m", "pyright", "--warnings", TYPED_USE],
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_types_are_what_the_type_checker_says_they_are(checker: str) -> None:
    done = subprocess.run(
        [sys.executable, *CHECKERS[checker]], cwd=ROOT, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr
