"""Shows on standard error how far a long read has got, while nothing else is to be seen."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ...read.walk import Walk
from ..output import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress

_PATIENCE_SECONDS = 1.0
_TICK_SECONDS = 0.2


class CatchUp:
    """A progress bar for reading up to the head of a stream.

    It appears after a second, and only on a terminal. If the items may appear on the same terminal,
    directly or through a pipe, the bar disappears when the first of them comes.
    """

    def __init__(self, walk: Walk, *, beside_items: bool) -> None:
        """Watch ``walk``; ``beside_items`` says that items may appear on the same terminal."""
        self._walk = walk
        self._beside_items = beside_items
        self._bar: Progress | None = None
        self._over = not is_terminal(sys.stderr)

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[CatchUp]:
        """Within the block, show the bar as long as there is something to show."""
        watching = asyncio.create_task(self._watch(), name="progress")
        try:
            yield self
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            self._stop()

    def wrote(self) -> None:
        """Note that items have been written."""
        if self._beside_items:
            self._stop()

    async def _watch(self) -> None:
        await asyncio.sleep(_PATIENCE_SECONDS)
        while not self._over and not self._walk.level:
            self._draw()
            await asyncio.sleep(_TICK_SECONDS)
        self._stop()

    def _draw(self) -> None:
        walk, feed = self._walk, self._walk.feed
        what = "catching up" if feed.floor is not None else "waiting for a worker"
        if self._bar is None:
            self._bar = _make_bar()
            self._bar.add_task(what, total=None)
            self._bar.start()
        # On a long read, the feed is ahead of what was written, since it has to find the head, too.
        read, head = walk.position or feed.head, max(walk.position, feed.head)
        self._bar.update(
            self._bar.task_ids[0],
            description=what,
            completed=read,
            total=head if head > read else None,
        )

    def _stop(self) -> None:
        self._over = True
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _make_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("items"),
        console=Console(stderr=True),
        transient=True,
    )
