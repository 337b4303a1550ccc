"""The pictures of the documentation can be made anew, and are the ones that it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Browser

from ..http.serving import GatewayProcess
from . import pictures
from .hosts import Hosts

pytestmark = pytest.mark.asyncio(loop_scope="package")

PAGE = Path(__file__).parents[3] / "docs" / "viewer.md"


async def test_the_pictures_of_the_documentation_are_made_anew(
    hosts: Hosts, browser: Browser, gateway: GatewayProcess, tmp_path: Path
) -> None:
    await pictures.make(hosts, browser, gateway.url, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(pictures.NAMES)
    assert set(re.findall(r"\(images/(viewer-[^)]+)\)", PAGE.read_text())) == set(pictures.NAMES)
    for name in pictures.NAMES:
        kept = PAGE.parent / "images" / name
        assert kept.stat().st_size < 100_000
        with Image.open(kept) as shown, Image.open(tmp_path / name) as made:
            assert shown.size == made.size
