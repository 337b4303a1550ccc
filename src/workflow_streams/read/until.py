"""Where a walk stops before its stream ends: at an offset, or at what stands there now."""

from __future__ import annotations

from ..arguments import is_whole
from ..errors import InvalidOffsetError
from ..events import LATEST, Last
from .feeds.feed import Feed
from .tip import polled_head


class ToHead:
    """The end of a walk that takes what stands in the stream when it begins, and then stops.

    What stands there is noted once, as the newest event of the history. The walk is at its end
    when the feed has read up to that event and the walk has passed all that came of it. That
    includes rewinds and the end, which have no offset of their own. A polled stream has no such
    events; there, the host tells its head.

    Attributes:
        unopened: Whether nothing came because no worker has opened the stream yet.
    """

    def __init__(self) -> None:
        """Prepare; :meth:`note` is what counts as "now"."""
        self.unopened = False
        self._noted = False
        self._run_id: str | None = None
        self._newest = 0
        self._polled_head: int | None = None
        self._feed: Feed | None = None
        self._index: int | None = None

    async def note(self, feed: Feed) -> None:
        """Note what stands in the history; the first call counts."""
        if self._noted:
            return
        # None: the id is another chain's by now, and this one is read to its end.
        run_id = await feed.current_run()
        if run_id is not None:
            self._newest = await feed.source.newest_event_id(run_id)
        self._run_id, self._noted = run_id, True

    async def wait_opened(self, feed: Feed) -> None:
        """Wait until the feed has opened the stream, or knows that no worker has done so."""

        def known() -> bool:
            read = feed.run_id == self._run_id and feed.view.seen_id >= self._newest
            return feed.floor is not None or read

        await feed.wait_known(known)
        self.unopened = feed.floor is None and not feed.done

    def met(self, feed: Feed, index: int, position: int) -> bool:
        """Whether a walk has passed everything.

        Args:
            feed: The feed that the walk uses.
            index: The feed's moment that is the walk's next.
            position: The offset that is the walk's next.
        """
        if self._run_id is None:
            return False
        if feed.polls(self._run_id):
            return self._polled_head is not None and position >= self._polled_head
        if feed is not self._feed:
            self._feed, self._index = feed, None
        if self._index is None and feed.has_read(self._run_id, self._newest):
            self._index = feed.ring.stop
        return self._index is not None and index >= self._index

    def asks(self, feed: Feed) -> bool:
        """Whether the host has to be asked for its head."""
        return self._run_id is not None and self._polled_head is None and feed.polls(self._run_id)

    async def ask(self, feed: Feed) -> None:
        """Ask the host for its head, unless the feed leaves the run first.

        Raises:
            HostUnavailableError: No worker answers.
        """
        assert self._run_id is not None
        assert feed.host is not None
        self._polled_head = await polled_head(feed, self._run_id)
        closed = await feed.host.has_closed(self._run_id)
        if closed and await feed.current_run() == self._run_id:
            # The end stands there, too, and no other run comes after it.
            self._run_id = None


def until_of(until: int | Last | None) -> int | ToHead | None:
    """Return where a subscription stops that was given ``until``; None: at the stream's end.

    Raises:
        InvalidOffsetError: It is neither an offset nor ``LATEST``.
    """
    if until is None:
        return None
    if isinstance(until, Last):
        if until == LATEST:
            return ToHead()
    elif is_whole(until) and until >= 0:
        return until
    raise InvalidOffsetError(until, "until is an int, at least 0, or LATEST")
