"""`uv run samples/...` has what the samples need."""

from __future__ import annotations

import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


def test_the_group_that_uv_run_installs_is_the_extra_of_the_samples() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    needed = {*extras["samples"], *extras["embedded"]} - {"workflow-streams[embedded]"}
    assert set(PROJECT["dependency-groups"]["samples"]) == needed
    assert PROJECT["tool"]["uv"]["default-groups"] == ["dev", "samples"]
