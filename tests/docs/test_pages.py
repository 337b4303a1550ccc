"""Code on every page type-checks; commands, files, extras and links on it exist."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from .markdown import PAGES, ROOT, Page

TARGETS = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def each_page() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", PAGES, ids=name_of)


@pytest.mark.processes
def test_python_on_all_pages_is_type_correct(tmp_path: Path) -> None:
    files: dict[str, str] = {}
    for path in PAGES:
        for name, text in Page(path).python_files().items():
            assert name not in files, f"{name} stands on two pages"
            files[name] = text
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert {"readme_md.py", "concepts_md.py", "wire_md.py"} <= set(files)
    # A cache of its own: that of `make check` is made under other settings.
    cache = f"--cache-dir={ROOT / '.mypy_cache' / 'pages'}"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", cache, *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@each_page()
def test_links_lead_to_files_and_headings_that_exist(path: Path) -> None:
    page = Page(path)
    for link in page.links:
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), link
        if anchor:
            assert anchor in Page(file).anchors, link


@each_page()
def test_make_targets_and_files_that_are_named_exist(path: Path) -> None:
    for command in Page(path).commands():
        made = re.match(r"make ([\w-]+)", command)
        if made:
            assert made[1] in TARGETS, command
        for file in re.findall(r"\b((?:samples|src|docs|tests)/[\w./-]*\w)", command):
            assert (ROOT / file).exists(), command


@each_page()
def test_extras_that_are_to_be_installed_exist(path: Path) -> None:
    for extras in re.findall(r"workflow-streams\[([\w,]+)\]", Page(path).text):
        assert set(extras.split(",")) <= set(EXTRAS)


@pytest.mark.processes
def test_commands_of_the_command_line_exist() -> None:
    named = {
        match[1]
        for path in PAGES
        for command in Page(path).commands()
        if (match := re.match(r"workflow-streams ([a-z]+)", command))
    }
    assert "dev" in named
    for name in sorted(named):
        done = subprocess.run(
            [Path(sys.executable).with_name("workflow-streams"), name, "--help"],
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr


def test_the_readme_leads_to_every_page() -> None:
    readme = Page(ROOT / "README.md")
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in readme.links}
    missing = [name_of(p) for p in PAGES if p.parent.name == "docs" and p not in linked]
    assert not missing


def test_a_page_is_taken_apart_as_this_expects(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "# A page: of mine\n\nSee [it](other.md#a-b) and `make x`.\n\n    make y   # why\n\n"
        "```python\na = 1\n```\n\n```python\n# b.py\nb = 2\n```\n\n```python\nc = 3\n```\n"
    )
    page = Page(path)
    assert page.links == ["other.md#a-b"]
    assert page.anchors == {"a-page-of-mine"}
    assert list(page.commands()) == ["make y", "make x"]
    files = page.python_files()
    assert files["b.py"] == "# b.py\nb = 2\n"
    assert files["page_md.py"].splitlines()[7::9] == ["a = 1", "c = 3"]
