"""The pure modules are covered to the last branch by their own tests alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PURE = ("batcher", "fold", "intake", "polled_log", "publisher_ids", "wire")


def test_property_tests_take_every_branch_of_the_pure_modules(tmp_path: Path) -> None:
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/pure", "-q", "-p", "no:cacheprovider"]
        # Few examples: what branches need to be taken must not depend on luck.
        + ["--hypothesis-profile=coverage", "--cov-branch", "--cov-fail-under=100"]
        + ["--cov-report=term-missing"]
        + [f"--cov=workflow_streams.{module}" for module in PURE],
        cwd=ROOT,
        env=own | {"COVERAGE_FILE": str(tmp_path / "coverage")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"src/workflow_streams/{module}.py" in done.stdout for module in PURE), done.stdout
