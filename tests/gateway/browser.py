"""Sees to it that there is a Chromium for the tests: the machine's, Debian's, or Playwright's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DEBIAN_CHROMIUM = Path("/usr/bin/chromium")


def install() -> None:
    """Install a browser unless there is one; say so plainly if none can be had."""
    if DEBIAN_CHROMIUM.exists():
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "check": False}
        subprocess.run(["apt-get", "-qq", "update"], **quiet)
        subprocess.run(
            ["apt-get", "-qq", "-y", "--no-install-recommends", "install", "chromium"],
            stdout=subprocess.DEVNULL,
            **quiet,
        )
        if DEBIAN_CHROMIUM.exists():
            return
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    if subprocess.run(command, check=False).returncode:
        print("No Chromium could be installed; the tests that need one are skipped.")


def has_browser() -> bool:
    """Whether there is a Chromium: Debian's, or the one that Playwright installed."""
    if DEBIAN_CHROMIUM.exists():
        return True
    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).exists()


if __name__ == "__main__":
    install()
