"""The parts of a Markdown page that can be true or false: code, commands, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page for pattern in ("*.md", "docs/*.md", "samples/*.md") for page in ROOT.glob(pattern)
)

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_FILE_NAME = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page that it begins at."""

    language: str
    text: str
    line: int


class Page:
    """One Markdown file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text()

    @property
    def blocks(self) -> list[Block]:
        return [
            Block(match[1], match[2], self.text.count("\n", 0, match.start()) + 2)
            for match in _FENCED.finditer(self.text)
        ]

    def python_files(self) -> dict[str, str]:
        """Return the page's Python by file name.

        A block that begins with a comment such as ``# test_x.py`` is that file; the others make up
        one module, named after the page, with the line numbers of the page.
        """
        files: dict[str, str] = {}
        own = f"{self.path.stem.lower()}_md.py"
        for block in self.blocks:
            if block.language != "python":
                continue
            named = _FILE_NAME.match(block.text)
            if named:
                files[named[1]] = block.text
                continue
            so_far = files.get(own, "")
            files[own] = so_far + "\n" * (block.line - 1 - so_far.count("\n")) + block.text
        return files

    @property
    def prose(self) -> str:
        return _FENCED.sub("", self.text)

    def commands(self) -> Iterator[str]:
        """Yield each line of the indented blocks and of shell blocks, and each inline code."""
        for indented in _INDENTED.findall(self.prose):
            yield from (line.split("#")[0].strip() for line in indented.splitlines())
        for block in self.blocks:
            if block.language in ("sh", "bash", "shell", "console"):
                yield from (line.split("#")[0].strip() for line in block.text.splitlines())
        yield from _INLINE.findall(self.prose)

    @property
    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """What headings are linked by, as GitHub makes it."""
        return {
            re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in _HEADING.findall(self.prose)
        }
