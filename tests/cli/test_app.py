"""The command line around its commands: help pages, what they load, what is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from workflow_streams.cli.exits import MEANINGS

from .command import COMMAND, environment

pytestmark = pytest.mark.processes

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"

# Runs the command line as if the module named first were not installed.
WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from workflow_streams.cli import main
main()
"""
# Shows all help pages in one process, each after a line with its name, then what was loaded.
HELP = """
import sys
from workflow_streams.cli.app import app
for name in sys.argv[1:]:
    print(f"=== {name}")
    app([*name.split()[1:], "--help"], prog_name="workflow-streams", standalone_mode=False)
print("===", *sorted({m.partition(".")[0] for m in sys.modules}))
"""


def python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        env=environment(None, {}),
        capture_output=True,
        encoding="utf-8",
        timeout=250,
    )


def command(*args: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [COMMAND, *args], env=environment(None, {}), capture_output=True, text=True, timeout=250
    )
    return done.returncode, done.stdout, done.stderr


def documented() -> dict[str, str]:
    """Return the help pages in the docs, by command."""
    return dict(
        re.findall(
            r"^## (workflow-streams[a-z -]*)\n\n```text\n(.*?)^```$",
            DOCS.read_text(),
            re.MULTILINE | re.DOTALL,
        )
    )


def test_the_docs_hold_the_help_pages_as_they_are() -> None:
    pages = documented()
    commands = re.findall(
        r"^  ([a-z]+)  ", pages["workflow-streams"].partition("Commands:")[2], re.MULTILINE
    )
    assert list(pages) == ["workflow-streams", *(f"workflow-streams {name}" for name in commands)]
    done = python(HELP, *pages)
    assert done.stderr == ""
    *shown, loaded = done.stdout.split("=== ")[1:]
    assert {page.partition("\n")[0]: page.partition("\n")[2] for page in shown} == pages
    assert set(loaded.split()) & {"rich", "starlette", "uvicorn", "prometheus_client"} == set()


def test_every_help_page_teaches_by_examples_that_are_right() -> None:
    pages = documented()
    for name, page in pages.items():
        examples = page.partition("Examples:")[2].partition("Exit status")[0]
        assert f"{name} " in examples or f"{name}\n" in examples
        for example in re.findall(r"workflow-streams ([a-z]+)((?: [^|#<\n]*)?)", examples):
            options = re.findall(r"(?<= )--?[a-z][a-z-]*", example[1].partition(" -- ")[0])
            assert set(options) <= set(
                re.findall(r"--?[a-z][a-z-]*", pages[f"workflow-streams {example[0]}"])
            )


def test_the_docs_explain_every_exit_status_and_connection_option() -> None:
    text = DOCS.read_text()
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE))
    assert rows == {str(code.value): meaning for code, meaning in MEANINGS.items()}
    listed = set(
        re.findall(r"--[a-z][a-z-]*", text.partition("## Where")[2].partition("## What")[0])
    )
    options = documented()["workflow-streams tail"].partition("Connection options:")[2]
    assert listed == set(re.findall(r"--[a-z][a-z-]*", options.partition("Examples:")[0]))


def test_it_tells_its_version_and_what_is_wrong_usage() -> None:
    assert command("--version") == (0, f"workflow-streams {version('workflow-streams')}\n", "")
    status, out, err = command("tail")
    assert (status, out) == (2, "")
    assert err == (
        "Usage: workflow-streams tail [OPTIONS] {ID}\n"
        "Try 'workflow-streams tail -h' for help.\n\n"
        "Error: Missing argument 'ID'.\n"
    )


@pytest.mark.parametrize("name", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(name: str) -> None:
    done = python(WITHOUT, name, "tail", "--help")
    if name == "rich":  # only a progress bar needs it
        assert done.returncode == 0
        return
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"workflow-streams: {name} is not installed. "
        "Install the command line with: pip install 'workflow-streams[cli]'\n"
    )


def test_a_fault_elsewhere_is_not_taken_for_a_missing_package() -> None:
    done = python(WITHOUT, "temporalio.envconfig", "ls")
    assert done.returncode == 1
    assert "temporalio.envconfig" in done.stderr
    assert "to install" not in done.stderr
