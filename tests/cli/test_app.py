"""The command line around its commands."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

# Runs the command line as if the module named first were not installed.
WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from workflow_streams.cli import main
main()
"""
WITH = "from workflow_streams.cli import main; main()"
PLAIN = {k: v for k, v in os.environ.items() if k not in {"FORCE_COLOR", "GITHUB_ACTIONS"}}


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        env={**PLAIN, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


def test_it_tells_its_version() -> None:
    done = run(WITH, "--version")
    assert (done.returncode, done.stdout) == (
        0,
        f"workflow-streams {version('workflow-streams')}\n",
    )


@pytest.mark.parametrize("args", [["--help"], ["dev", "--help"], ["dev", "--port", "none"], ["no"]])
def test_it_is_without_colour_when_not_on_a_terminal(args: list[str]) -> None:
    done = run(WITH, *args)
    assert "Usage: workflow-streams" in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_help_names_every_option_of_dev() -> None:
    shown = run(WITH, "dev", "--help").stdout
    for option in ("--port", "--ui-port", "--db", "--headless", "--namespace"):
        assert option in shown


def test_without_typer_it_says_what_to_install() -> None:
    done = run(WITHOUT, "typer")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "workflow-streams: typer is not installed. "
        "Install the command line with: pip install 'workflow-streams[cli]'\n"
    )


def test_a_fault_elsewhere_is_not_taken_for_a_missing_package() -> None:
    done = run(WITHOUT, "temporalio.envconfig")
    assert "temporalio.envconfig" in done.stderr
    assert "to install" not in done.stderr
