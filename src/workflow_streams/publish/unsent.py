"""Reports items that wait in a publisher's buffer with nobody to send them.

``publish()`` does not wait, so a publisher that is neither entered nor flushed takes items and
sends none. The log says so after a moment, and once more when the items are lost.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
import weakref
from typing import Protocol

logger = logging.getLogger("workflow_streams")

UNSENT_SECONDS = 5.0
"""How long items may wait with nobody to send them before the log says so."""


class Buffering(Protocol):
    """A publisher."""

    workflow_id: str

    @property
    def undelivered(self) -> int:
        """How many items the server has not taken."""
        ...

    @property
    def stranded(self) -> int:
        """How many of them nobody sends."""
        ...


_publishers: weakref.WeakSet[Buffering] = weakref.WeakSet()
_watched: weakref.WeakSet[Buffering] = weakref.WeakSet()


def remember(publisher: Buffering) -> None:
    """Log at the end of the process what ``publisher`` has not sent."""
    _tell_at_exit()
    _publishers.add(publisher)


def watch(publisher: Buffering) -> None:
    """Log, once, if items are stranded for more than a moment."""
    if not publisher.stranded or publisher in _watched:
        return
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    _watched.add(publisher)
    loop.call_later(UNSENT_SECONDS, _look, weakref.ref(publisher))


def tell_lost(publisher: Buffering) -> None:
    """Log what a publisher that is gone has not sent."""
    if publisher.undelivered:
        logger.error("%s", never_sent(publisher))


def never_sent(publisher: Buffering) -> str:
    """Return the text that reports lost items."""
    return (
        f"{publisher.undelivered} item(s) for workflow {publisher.workflow_id!r} were "
        "published but never sent: use `async with` or await flush()"
    )


def _look(reference: weakref.ref[Buffering]) -> None:
    publisher = reference()
    if publisher is None:
        return
    if not publisher.stranded:
        _watched.discard(publisher)
        return
    logger.warning(
        "%d item(s) for workflow %r wait in the buffer, and nothing sends them: use `async with` "
        "or await flush()",
        publisher.stranded,
        publisher.workflow_id,
    )


@functools.cache
def _tell_at_exit() -> None:
    atexit.register(_tell_all)


def _tell_all() -> None:
    for publisher in list(_publishers):
        tell_lost(publisher)
