"""What has become of a position while its reader was away."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ..log.positions import Position, chain_digest
from .catch_up import find_run, runs_of
from .feeds.feed import Feed

Fate: TypeAlias = Literal["stands", "astray", "reset", "replaced"]
"""What comes before a position still stands; its run has been replaced by another; so it has, and
that run is not to be had any more; the workflow id is another workflow's by now."""


async def fate_of(feed: Feed, position: Position) -> Fate:
    """Return what has become of a position; may wait until the feed has come to the current run.

    Raises:
        StreamNotFoundError: No run of the stream is left.
        WorkflowStreamError: The stream cannot be read.
    """
    if chain_digest(feed.first_run_id) != position.chain:
        return "replaced"
    if _is_on_the_way(feed, position.run_id):
        return "stands"
    # Another process may have read further than this one has by now.
    current = await feed.current_run()
    if current is not None:
        await feed.wait_known(lambda: feed.has_entered(current))
    runs, _, _ = await find_run(feed, position.offset)
    if _is_on_the_way(feed, position.run_id) or position.run_id in {run.run_id for run in runs}:
        return "stands"
    if await feed.source.has_run(position.run_id):
        return "astray"
    # So old a run that the records name it no more, or one that a contrib hosted: those carry
    # their items along. Otherwise the run would still be named, had it not been replaced.
    carried = feed.view.polled
    return "stands" if carried or runs[0].first_offset > position.offset else "reset"


def _is_on_the_way(feed: Feed, run_id: str) -> bool:
    """Whether the current run has come from this one by continue-as-new, or is it."""
    return run_id == feed.run_id or any(run.run_id == run_id for run in runs_of(feed))
