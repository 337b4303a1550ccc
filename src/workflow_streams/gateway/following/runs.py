"""Tells clients where the runs of a stream's workflow began, so that they can show it."""

from __future__ import annotations

from typing import Any

from ...read.feeds.feed import Feed
from ..formats.offsets import token_of

_MOST = 100


class RunNews:
    """Knows which runs one client has not been told of yet."""

    def __init__(self, feed: Feed, start: int) -> None:
        """Tell of the runs of ``feed`` that began at ``start`` or later."""
        self._feed = feed
        self._start = start
        self._told: set[str] = set()
        self._newest = ""

    def pending(self) -> bool:
        """Whether there may be news."""
        view = self._feed.view
        return not view.polled and view.run_id not in ("", self._newest)

    def fields(self) -> dict[str, Any]:
        """Return the field for a control event; no field if there is no news."""
        view = self._feed.view
        if not self.pending() or not view.opened:
            return {}
        self._newest = view.run_id
        runs = view.line[-_MOST:]
        news = [r for r in runs if r.first_offset >= self._start and r.run_id not in self._told]
        self._told = {run.run_id for run in runs}
        if not news:
            return {}
        # Pairs, not objects: some clients take the first closing brace of the first control event
        # for its end.
        return {"runs": [[r.run_id, token_of(r.first_offset)] for r in news]}
