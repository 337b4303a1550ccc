"""The Python of the pages, as modules."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .markdown import ROOT, Page

Load = Callable[[str], Any]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write a page's blocks to a module, in the order of the page, and import it."""

    def load(page: str) -> Any:
        files = Page(ROOT / page).python_files()
        [(name, text)] = [item for item in files.items() if item[0].endswith("_md.py")]
        (tmp_path / name).write_text(text)
        # The workflow sandbox imports it by its name, too.
        monkeypatch.syspath_prepend(tmp_path)
        return importlib.import_module(name.removesuffix(".py"))

    return load
