"""The assistants of docs/frameworks.md, run under a reader's eyes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.markdown import ROOT, Page


@pytest.fixture
def assistant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Imports a file of the page, some of its text replaced."""
    files = Page(ROOT / "docs/frameworks.md").python_files()

    def load(name: str, replaced: dict[str, str] | None = None) -> Any:
        text = files[f"{name}.py"]
        for old, new in (replaced or {}).items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / f"{name}.py").write_text(text)
        # The workflow sandbox imports it by its name, too.
        monkeypatch.syspath_prepend(tmp_path)
        module = importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)
        return module

    return load
