"""Keeps verdicts on batches for the publishers in this process that wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ...log.fold import Verdict, note_verdict
from ...log.intake import Judged


class _Watched(dict[int, Verdict]):
    """Verdicts by sequence; ``floors`` has the sequence after which each watcher wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.floors: dict[object, int] = {}


class Mailbox:
    """What one feed reads about batches that somebody here has sent.

    Verdicts nobody has asked for are not kept, so its size follows from what is being sent.
    """

    def __init__(self) -> None:
        """Start with nobody waiting."""
        self._by_publisher: dict[str, _Watched] = {}
        self._by_tag: dict[str, asyncio.Future[tuple[Verdict, int]]] = {}

    def __bool__(self) -> bool:
        """Whether anybody waits for a verdict."""
        return bool(self._by_publisher or self._by_tag)

    @contextmanager
    def watched(self, publisher_id: str, after: int) -> Iterator[Mapping[int, Verdict]]:
        """Keep the verdicts on a publisher's batches past sequence ``after`` while in the block.

        Several watchers of one publisher share them. Verdicts that none of them can ask for any
        more are dropped.
        """
        verdicts = self._by_publisher.setdefault(publisher_id, _Watched())
        watcher = object()
        verdicts.floors[watcher] = after
        try:
            yield verdicts
        finally:
            del verdicts.floors[watcher]
            if verdicts.floors:
                floor = min(verdicts.floors.values())
                for sequence in [s for s in verdicts if s <= floor]:
                    del verdicts[sequence]
            else:
                del self._by_publisher[publisher_id]

    @contextmanager
    def tagged(self, tag: str) -> Iterator[asyncio.Future[tuple[Verdict, int]]]:
        """Wait for the verdict on the batch with a tag, and the head after it, in the block."""
        verdict = self._by_tag[tag] = asyncio.get_running_loop().create_future()
        try:
            yield verdict
        finally:
            self._by_tag.pop(tag, None)

    def deliver(self, judged: Judged, head: int) -> None:
        """Hand a verdict to whatever waits for it; ``head`` is the stream's after the batch."""
        watched = self._by_publisher.get(judged.publisher_id)
        if watched is not None:
            note_verdict(watched, judged.sequence, judged.verdict)
        waiting = self._by_tag.pop(judged.tag, None) if judged.tag else None
        if waiting is not None and not waiting.done():
            waiting.set_result((judged.verdict, head))
