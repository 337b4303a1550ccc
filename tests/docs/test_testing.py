"""The tests in docs/testing.md pass, as a suite of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from workflow_streams.testing.fixtures import StreamServer

from .markdown import ROOT, Page

PLUGINS = ("-p", "no:asyncio", "-p", "no:cacheprovider")


def test_the_tests_on_the_page_pass(stream_server: StreamServer, tmp_path: Path) -> None:
    files = Page(ROOT / "docs/testing.md").python_files()
    assert len(files) == 5
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    own = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        # As the page says, no plugin is needed.
        [sys.executable, "-m", "pytest", "-q", "-W", "error", *PLUGINS],
        cwd=tmp_path,
        env=own | {"TEMPORAL_ADDRESS": stream_server.address},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert "5 passed" in done.stdout, done.stdout + done.stderr
