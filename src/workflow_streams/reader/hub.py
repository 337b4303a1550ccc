"""One reader per stream in each process, shared by everything that follows the stream."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, ServiceClient

from .. import wire
from ..codec import converter_of, record_in
from ..fold import Duplicate, Verdict
from ..rpc import connect_failure, translate
from .chain import Chain
from .moments import Moment

logger = logging.getLogger("workflow_streams")
T = TypeVar("T")

RING_BYTES = 8 * 1024 * 1024
LINGER_SECONDS = 2.0


class Cursor:
    """A subscriber's place in a feed; ``index`` counts the feed's moments from its start."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        """Begin at ``index``."""
        self.index = index


class Feed:
    """Reads one stream into a ring of recent moments, bounded in bytes.

    Subscribers hold cursors into the ring. One whose cursor fell out reads the history by
    itself until it meets the ring again (see :mod:`.subscription`); it costs nobody else
    anything. A feed with a single subscriber waits for it instead.
    """

    def __init__(self, client: Client, workflow_id: str, run_id: str | None) -> None:
        """Prepare; the feed starts to read when somebody is :meth:`attached <attach>`."""
        self.client = client
        self.workflow_id = workflow_id
        self.pinned_run_id = run_id
        self.chain: Chain | None = None
        self.base = 0
        self.head = 0
        self.run_id = ""
        self.event_id = 0
        self.seen_id = 0
        self.done = False
        self.error: BaseException | None = None
        self.watchers: dict[str, dict[int, Verdict]] = {}
        self.tagged: dict[str, asyncio.Future[tuple[Verdict, int]]] = {}
        self.ring: deque[Moment] = deque()
        self.start = 0
        self.join_index = 0
        self.floor: int | None = None
        self.keeps_last = False
        self._dropped: Moment | None = None
        self._bytes = 0
        self._cursors: set[Cursor] = set()
        self._users = 0
        self._progress = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None

    @property
    def stop_index(self) -> int:
        """Index after the newest moment."""
        return self.start + len(self.ring)

    def retain(self, offset: int) -> None:
        """Keep the feed running; pair with :meth:`release`."""
        self._users += 1
        self._room.set()  # a feed waits for a single user only
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._task is None:
            name = f"follow {self.workflow_id}"
            self._task = asyncio.create_task(self._run(offset), name=name)

    def release(self) -> None:
        """Undo one :meth:`retain`; the last one stops the feed a little later."""
        self._users -= 1
        if self._users == 0:
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(LINGER_SECONDS, self.stop)

    def stop(self) -> None:
        """Stop reading; a later subscriber gets a new feed."""
        self.done = True
        if self._task is not None:
            self._task.cancel()

    def attach(self, cursor: Cursor) -> None:
        """Let ``cursor`` count as a subscriber that the feed may have to wait for."""
        self._cursors.add(cursor)

    def detach(self, cursor: Cursor) -> None:
        """Undo :meth:`attach`."""
        self._cursors.discard(cursor)
        self._room.set()

    def advance(self, cursor: Cursor) -> Moment | None:
        """Return the moment under ``cursor`` and step on; None if there is none yet."""
        if cursor.index >= self.stop_index:
            return None
        moment = self.ring[cursor.index - self.start]
        cursor.index += 1
        if not self._room.is_set():
            self._room.set()
        return moment

    def lost(self, cursor: Cursor) -> bool:
        """Whether the ring no longer holds what the cursor is to read next."""
        return cursor.index < self.start

    def index_after(self, run_id: str, event_id: int) -> int | None:
        """Return the index of the first moment after this place, if the ring covers it."""
        dropped = self._dropped
        if dropped is not None and dropped.run_id == run_id and dropped.event_id > event_id:
            return None
        for index, moment in enumerate(self.ring, self.start):
            if moment.run_id == run_id and moment.event_id > event_id:
                return index
        return self.stop_index if self.run_id == run_id else None

    async def wait(self, met: Callable[[], bool]) -> None:
        """Wait until ``met``; raise what stopped the feed, if something did."""
        while not met():
            if self.error is not None:
                raise self.error
            if self.done:
                return
            progress = self._progress
            await progress.wait()

    async def wait_past(self, index: int) -> None:
        """Wait for a moment at ``index``, or for the feed's end."""
        await self.wait(lambda: self.stop_index > index)

    async def wait_level(self, run_id: str, event_id: int) -> None:
        """If the feed reads this run, wait until it is not behind ``event_id`` any more."""
        await self.wait(lambda: self.run_id != run_id or self.event_id >= event_id)

    async def wait_other_run(self, run_id: str) -> None:
        """Wait until the feed has left this run."""
        await self.wait(lambda: self.run_id != run_id)

    async def describe(self) -> WorkflowExecutionDescription:
        """Ask the server about the run; raises this package's errors."""
        handle = self.client.get_workflow_handle(self.workflow_id, run_id=self.pinned_run_id)
        return await rpc(handle.describe(), self.workflow_id)

    async def _run(self, offset: int) -> None:
        try:
            described = await self.describe()
            self.base, self.keeps_last = await self._known_base(described)
            self.chain = Chain(self.client, self.workflow_id, described.run_id, offset=offset)
            async for page in self.chain.pages():
                for moment in page:
                    await self._take(moment)
                self.run_id, self.seen_id = self.chain.run_id, self.chain.seen_id
                self._announce()
        except asyncio.CancelledError:
            raise
        except BaseException as err:
            self.error = err
        finally:
            self.done = True
            self._announce()

    async def _known_base(self, described: WorkflowExecutionDescription) -> tuple[int, bool]:
        """Read the base from the run's last record, which its memo shows."""
        fields = described.raw_info.memo.fields
        if wire.MEMO_KEY not in fields:
            return 0, False
        converter = converter_of(self.client, self.workflow_id)
        record = await record_in(converter, fields[wire.MEMO_KEY], self.workflow_id)
        return record.base, record.ring

    async def _take(self, moment: Moment) -> None:
        while self._bytes > RING_BYTES and self._waits():
            self._announce()
            self._room.clear()
            await self._room.wait()
        if moment.judged is not None:
            judged = moment.judged
            watched = self.watchers.get(judged.publisher_id)
            if watched is not None and not isinstance(judged.verdict, Duplicate):
                watched[judged.sequence] = judged.verdict
            future = self.tagged.pop(judged.tag, None) if judged.tag else None
            if future is not None and not future.done():
                future.set_result((judged.verdict, moment.head))
        if moment.opened and self.floor is None:
            self.floor = moment.head - (len(moment.chunk.entries) if moment.chunk else 0)
        if moment.run_id != self.run_id:
            self.seen_id = 0
        self.run_id, self.event_id = moment.run_id, moment.event_id
        self.head, self.base = moment.head, max(self.base, moment.base)
        self.ring.append(moment)
        self._bytes += moment.size
        if moment.rewind is not None and moment.rewind.reason != "attempt":
            self.base = moment.base
            self.join_index, self.floor = self.stop_index, moment.rewind.next_offset
        while self._bytes > RING_BYTES and len(self.ring) > 1 and not self._waits():
            self._drop()

    def _waits(self) -> bool:
        """Whether to wait for the one and only subscriber, who is at the ring's end."""
        if self._users != 1 or self.watchers or self.tagged or len(self._cursors) != 1:
            return False
        [cursor] = self._cursors
        return cursor.index <= self.start

    def _drop(self) -> None:
        moment = self.ring.popleft()
        self.start += 1
        self._bytes -= moment.size
        self._dropped = moment
        if self.start > self.join_index:
            self.join_index = self.start
            self.floor = max(self.floor or 0, moment.head)

    def _announce(self) -> None:
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()


_Feeds = dict[tuple[asyncio.AbstractEventLoop, str, str, str | None, int], Feed]
_feeds: WeakKeyDictionary[ServiceClient, _Feeds] = WeakKeyDictionary()


def feed_of(client: Client, workflow_id: str, run_id: str | None) -> Feed:
    """Return the process's feed of this stream, made anew if there is none that runs."""
    feeds = _feeds.setdefault(client.service_client, {})
    loop = asyncio.get_running_loop()
    key = (loop, client.namespace, workflow_id, run_id, id(client.data_converter))
    feed = feeds.get(key)
    if feed is None or feed.done:
        for old in [k for k, f in feeds.items() if f.done or k[0].is_closed()]:
            del feeds[old]
        feed = feeds[key] = Feed(client, workflow_id, run_id)
    return feed


async def rpc(call: Awaitable[T], workflow_id: str) -> T:
    """Await ``call`` with its errors translated; may be the first call of a lazy client."""
    try:
        return await call
    except RPCError as err:
        raise translate(err, workflow_id) from err
    except RuntimeError as err:
        failure = connect_failure(err)
        if failure is None:
            raise
        raise failure from err
