"""What is built for others holds the whole package, its types, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    [path] = folder.glob("workflow_streams-*-py3-none-any.whl")
    return zipfile.ZipFile(path)


def files_of(folder: Path, prefix: str = "") -> set[str]:
    return {
        prefix + str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_it_holds_every_file_of_the_package_and_is_typed(wheel: zipfile.ZipFile) -> None:
    # The samples are there for the command `demo`.
    files = files_of(ROOT / "src") | files_of(ROOT / "samples", "workflow_streams/samples/")
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == files
    assert "workflow_streams/py.typed" in packed


def test_its_metadata_names_the_licence_the_command_and_the_extras(
    wheel: zipfile.ZipFile,
) -> None:
    [info] = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = message_from_string(wheel.read(f"{info}/METADATA").decode())
    assert metadata["Name"] == "workflow-streams"
    assert metadata["License-Expression"] == "MIT"
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert {"cli", "embedded", "testing"} <= set(metadata.get_all("Provides-Extra", []))
    scripts = wheel.read(f"{info}/entry_points.txt").decode()
    assert "workflow-streams = workflow_streams.cli:main" in scripts
    needed = [name for name in metadata.get_all("Requires-Dist", []) if "extra ==" not in name]
    assert len(needed) <= 4, "the core depends on temporalio and little more"
