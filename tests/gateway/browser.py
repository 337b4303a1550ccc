"""Sees to it that there is a Chromium for the tests: the machine's, Debian's, or Playwright's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, sync_playwright

DEBIAN_CHROMIUM = Path("/usr/bin/chromium")

# What Playwright says where there is no browser, or not all that it needs to run.
_ABSENT = ("Executable doesn't exist", "executable doesn't exist", "missing dependencies")


def launch_options() -> dict[str, Any]:
    """Return what a browser is launched with: Debian's if it is there, else Playwright's own."""
    # Root, as which containers run, gets no sandbox from Chromium.
    options: dict[str, Any] = {"args": ["--no-sandbox"]}
    if DEBIAN_CHROMIUM.exists():
        options["executable_path"] = str(DEBIAN_CHROMIUM)
    return options


def is_absent(error: Error) -> bool:
    """Whether a launch has failed because there is no Chromium that could run here."""
    return any(words in error.message for words in _ABSENT)


def has_browser() -> bool:
    """Whether there is a Chromium that starts."""
    with sync_playwright() as playwright:
        try:
            playwright.chromium.launch(**launch_options()).close()
        except Error as error:
            if is_absent(error):
                return False
            raise
    return True


def install() -> bool:
    """Install a browser unless there is one; return whether there is one now."""
    if has_browser():
        return True
    if shutil.which("apt-get") and os.geteuid() == 0:
        quiet: dict[str, Any] = {
            "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            "check": False,
        }
        subprocess.run(["apt-get", "-qq", "update"], **quiet)
        subprocess.run(
            ["apt-get", "-qq", "-y", "--no-install-recommends", "install", "chromium"],
            stdout=subprocess.DEVNULL,
            **quiet,
        )
        if has_browser():
            return True
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    return has_browser()


if __name__ == "__main__":
    if not install():
        sys.exit("No Chromium could be installed; the tests that need one are skipped.")
