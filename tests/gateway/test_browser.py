"""Where no Chromium can be had, the tests that need one are skipped, and it is tried again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from . import browser
from .viewer.looking import launch

pytestmark = pytest.mark.processes

MAKEFILE = Path(__file__).parents[2] / "Makefile"


@pytest.mark.parametrize("own", [False, True], ids=["the machine's", "Playwright's"])
async def test_what_launches_a_browser_is_skipped_where_there_is_none(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {} if own else {"executable_path": str(tmp_path / "chromium")}
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    monkeypatch.setattr(f"{launch.__module__}.launch_options", lambda: options)
    async with async_playwright() as playwright:
        with pytest.raises(pytest.skip.Exception, match="no Chromium"):
            await launch(playwright)


def test_what_cannot_be_installed_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "DEBIAN_CHROMIUM", tmp_path / "chromium")
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no apt-get
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", "http://127.0.0.1:9")
    assert not browser.install()


@pytest.mark.parametrize("installed", [True, False])
def test_make_goes_on_without_a_browser_and_tries_again_the_next_time(
    installed: bool, tmp_path: Path
) -> None:
    run = f"RUN={str(installed).lower()}"  # true or false, in place of Python
    done = subprocess.run(
        ["make", "-f", str(MAKEFILE), "-o", ".setup-done", run, ".browser-done"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".browser-done").exists() == installed
