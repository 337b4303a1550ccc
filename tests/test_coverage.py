"""The pure modules are covered to the last branch by their own tests alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parent.parent
PURE = (
    "publish.batcher",
    "log.batches",
    "log.binary",
    "log.compact",
    "log.entries",
    "log.fold",
    "gateway.following.event_ids",
    "gateway.formats.frames",
    "gateway.formats.item_values",
    "gateway.formats.json_text",
    "gateway.formats.offsets",
    "gateway.security.claims",
    "gateway.security.patterns",
    "log.intake",
    "host.polling.polled_log",
    "hosted.forking.noted",
    "log.media_types",
    "log.packed",
    "log.payloads",
    "log.positions",
    "log.publisher_ids",
    "log.ranges",
    "log.records",
    "log.strict_json",
    "log.wire",
    "read.feeds.passed",
    "read.feeds.ring",
    "read.feeds.view",
)
TESTS = (
    "tests/pure",
    "tests/gateway/http/test_frames.py",
    "tests/gateway/http/test_offsets.py",
    "tests/gateway/http/test_event_ids.py",
    "tests/gateway/http/test_splicing.py",
    "tests/gateway/security/test_patterns.py",
    "tests/gateway/security/test_rules.py",
)


def test_property_tests_take_every_branch_of_the_pure_modules(tmp_path: Path) -> None:
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *TESTS, "-q", "-p", "no:cacheprovider"]
        # Few examples: what branches need to be taken must not depend on luck.
        + ["--hypothesis-profile=coverage", "--cov-branch", "--cov-fail-under=100"]
        + ["--cov-report=term-missing"]
        + [f"--cov=workflow_streams.{module}" for module in PURE],
        cwd=ROOT,
        env=own | {"COVERAGE_FILE": str(tmp_path / "coverage")},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for module in PURE:
        assert f"src/workflow_streams/{module.replace('.', '/')}.py" in done.stdout, done.stdout
