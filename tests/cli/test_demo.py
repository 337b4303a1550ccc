"""`demo` runs the samples, wherever the package is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workflow_streams.cli.demo import Scenario

from .command import Cli, environment

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
MAIN = "from workflow_streams.cli import main; main()"


def python(code: str, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        env=environment(None, more),
        capture_output=True,
        text=True,
        timeout=250,
    )


def installed(folder: Path, *, with_samples: bool) -> str:
    """Install a copy of the package, as a wheel would; return the folder for PYTHONPATH."""
    package = folder / "workflow_streams"
    shutil.copytree(
        ROOT / "src" / "workflow_streams", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    if with_samples:
        shutil.copytree(ROOT / "samples", package / "samples")
    return str(folder)


async def test_a_scenario_runs_on_the_server_that_is_named(cli: Cli) -> None:
    assert cli.address is not None
    done = await Cli(None)("demo", "order", "--address", cli.address)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == f"Temporal server: {cli.address}"
    assert lines[5:12] == [
        "[status] received: order=order-1",
        "[progress] charging card...",
        "[progress] card charged",
        "[status] shipped: order=order-1",
        "[progress] charge id: charge-order-1",
        "[status] complete: order=order-1",
        "workflow result: charge-order-1",
    ]
    assert lines[-1].startswith("order ")
    assert lines[-1].endswith(" s  ok")


def test_it_knows_the_scenarios_that_there_are() -> None:
    code = "import sys; sys.path[0] = sys.argv[1]; import demo; print(*demo.SCENARIOS)"
    done = python(code, str(ROOT / "samples"))
    assert done.stdout.split() == [scenario.value for scenario in Scenario]


def test_an_installed_package_brings_the_samples(tmp_path: Path) -> None:
    folder = installed(tmp_path, with_samples=True)
    code = "from workflow_streams.cli.samples import find_samples; print(find_samples())"
    done = python(code, PYTHONPATH=folder)
    assert (done.stdout, done.stderr) == (f"{folder}/workflow_streams/samples\n", "")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    folder = installed(tmp_path, with_samples=False)
    done = python(MAIN, "demo", "order", PYTHONPATH=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "workflow-streams: The samples are neither in the installed package nor beside it. "
        "Install workflow-streams from its wheel, or run this in a checkout of its repository.\n"
    )
    without = "import sys; sys.modules['openai'] = sys.modules['xllamacpp'] = None; "
    done = python(without + MAIN, "demo", "llm")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "workflow-streams: The scenario llm needs openai, xllamacpp: "
        "pip install 'workflow-streams[samples]'\n"
    )
    done = python(MAIN, "demo", "cooking")
    assert done.returncode == 2
    assert "'cooking' is not one of" in done.stderr
