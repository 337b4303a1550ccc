"""One reader per stream in each process, shared by everything that follows the stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import TypeVar

from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, ServiceClient

from .. import wire
from ..codec import converter_of, record_in
from ..errors import CodecError, ServerUnavailableError
from ..events import End, Last
from ..positions import tag_of
from ..rpc import connect_failure, translate
from .chain import Chain
from .mailbox import Mailbox
from .moments import BEFORE_ALL, Moment, Place
from .passed import PassedRuns
from .polled.retained import Retained
from .registry import Registry, key_of
from .ring import Ring
from .rings import Rings
from .runs import first_run_of

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
    itself until it meets the ring again (see :mod:`.walk`); it costs nobody else anything. A
    feed with a single subscriber waits for it instead.

    Attributes:
        first_run_id: First run of the chain that it reads; empty until it is known.
        base: Lowest retained offset.
        floor: Offset from which the ring has everything; None before the stream has opened.
        end: How the stream ended, once that has been read.
        done: It reads no more: at the end, after an error, or since nobody used it.
        error: What stopped it, if something did.
    """

    def __init__(self, client: Client, workflow_id: str, run_id: str | None) -> None:
        """Prepare; reading begins with the first :meth:`retain`."""
        self.client = client
        self.workflow_id = workflow_id
        self.pinned_run_id = run_id
        self.chain: Chain | None = None
        self.first_run_id = ""
        self.base = 0
        self.head = 0
        self.run_id = ""
        self.place: Place = BEFORE_ALL
        self.done = False
        self.error: Exception | None = None
        self.mailbox = Mailbox()
        self.ring = Ring()
        self.join_index = 0
        self.floor: int | None = None
        self.end: End | None = None
        self._ring_buffer = False
        self._restarting = False
        self._passed = PassedRuns()
        self._beside = 0
        self._holds_early = False
        self.seen_id = 0
        self._cursors: set[Cursor] = set()
        self._users = self._finders = 0
        self._progress = asyncio.Event()
        self._room = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        # The chain was the current one at this time; see confirm.
        self._confirmed = self.loop.time()
        self._confirming = asyncio.Lock()
        self._retained = Retained(client, workflow_id)

    @property
    def keeps_last(self) -> bool:
        """Whether a ring buffer moves the base on with each item, so that only its tip tells."""
        fold = self.chain.fold if self.chain is not None else None
        return self._ring_buffer if fold is None else fold.keep_last is not None

    def retain(self, start: int | Last = 0) -> None:
        """Keep the feed running; pair with :meth:`release`.

        A stream that has to be polled is read from the ``start`` of who comes first.
        """
        self._users += 1
        self._room.set()
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._task is None:
            self._confirmed = self.loop.time()
            name = f"follow {self.workflow_id}"
            self._task = self.loop.create_task(self._run(start), name=name)

    def release(self) -> None:
        """Undo one :meth:`retain`; the last one stops the feed a little later."""
        self._users -= 1
        if self._users == 0:
            self._linger = self.loop.call_later(LINGER_SECONDS, self.stop)

    @contextmanager
    def found(self) -> Iterator[None]:
        """Keep it among those that are found, also before and without any :meth:`retain`."""
        self._finders += 1
        try:
            yield
        finally:
            self._finders -= 1
            if self._finders == 0 and self._task is None:
                forget(self)

    def stop(self) -> None:
        """Stop reading; a later subscriber gets a new feed."""
        self.done = True
        forget(self)
        if self._task is not None:
            self._task.cancel()
        if self._users == 0:
            self._shrink(self.ring.size)

    @property
    def is_retained(self) -> bool:
        """Whether somebody uses it now."""
        return self._users > 0

    @property
    def reads(self) -> bool:
        """Whether it follows the history now."""
        return self._task is not None and not self.done

    def give_way(self, size: int) -> None:
        """Drop ``size`` bytes of the ring or somewhat more; from any thread."""
        if asyncio.get_running_loop() is self.loop:
            self._shrink(size)
        else:
            with suppress(RuntimeError):  # its loop may be closed
                self.loop.call_soon_threadsafe(self._shrink, size)

    def _shrink(self, size: int) -> None:
        # A single subscriber that has not come by is still waited for: it will go its own way.
        most = self.ring.size - size
        while len(self.ring) and self.ring.size > most:
            self._drop()
        _rings.shrunk(self, self.ring.size)

    def attach(self, cursor: Cursor) -> None:
        """Let ``cursor`` count as a subscriber that the feed may have to wait for."""
        self._cursors.add(cursor)
        self._room.set()
        _rings.used(self, self.ring.size)

    def detach(self, cursor: Cursor) -> None:
        """Undo :meth:`attach`."""
        self._cursors.discard(cursor)
        self._room.set()

    def advance(self, cursor: Cursor) -> Moment | None:
        """Return the moment under ``cursor`` and step on; None if there is none yet."""
        if cursor.index >= self.ring.stop:
            return None
        moment = self.ring[cursor.index]
        cursor.index += 1
        if not self._room.is_set():
            self._room.set()
        return moment

    def lost(self, cursor: Cursor) -> bool:
        """Whether the ring no longer holds what the cursor is to read next."""
        return cursor.index < self.ring.start

    def index_after(self, run_id: str, place: Place) -> int | None:
        """Return the ring's index of what comes after this place, if it has all of that."""
        if self._restarting and self.run_id == run_id:
            # What it tells next takes back runs that a reader in this one need not have read.
            return None
        return self.ring.index_after(run_id, place, reading=self.run_id)

    async def wait(self, met: Callable[[], bool]) -> None:
        """Wait until ``met``; raise what stopped the feed, if something did."""
        while not met():
            if self.error is not None:
                # One error for all subscribers: its traceback must not grow with each.
                raise self.error.with_traceback(None)
            if self.done:
                return
            progress = self._progress
            await progress.wait()

    async def wait_known(self, reached: Callable[[], bool]) -> None:
        """Wait as :meth:`wait` does, for what is known to stand in the history."""
        if not reached() and self.chain is not None:
            self.chain.renewal.hasten()
        await self.wait(reached)

    async def wait_past(self, index: int) -> None:
        """Wait for a moment at ``index``, or for the feed's end."""
        await self.wait(lambda: self.ring.stop > index)

    async def wait_level(self, run_id: str, place: Place) -> None:
        """If the feed reads this run, wait until it is not behind ``place`` any more."""
        await self.wait_known(
            lambda: self.error is not None or self.run_id != run_id or self.place >= place
        )

    async def wait_other_run(self, run_id: str) -> None:
        """Wait until the feed has left this run."""
        await self.wait_known(lambda: self.run_id != run_id)

    def has_read(self, run_id: str, event_id: int) -> bool:
        """Whether the feed is past this event, and what stands up to it has offsets."""
        if self.run_id == run_id:
            return self.seen_id >= event_id and not self._holds_early
        return run_id in self._passed

    def has_come_to(self, run_id: str, place: Place) -> bool:
        """Whether its head counts what stands at this place. The chain may be a page ahead."""
        return self.place >= place if self.run_id == run_id else run_id in self._passed

    def has_entered(self, run_id: str) -> bool:
        """Whether the feed has come to this run, or past it."""
        return self.done or self.run_id == run_id or run_id in self._passed

    @property
    def tag(self) -> str:
        """What makes a position of the head; empty before anything has been read."""
        return tag_of(self.first_run_id, self.run_id)

    def polls(self, run_id: str) -> bool:
        """Whether the feed has come to this run, and has to poll it."""
        chain = self.chain
        return chain is not None and chain.polled and chain.run_id == run_id

    async def describe(self) -> WorkflowExecutionDescription:
        """Ask the server about the run; raises this package's errors."""
        return await self._describe(self.pinned_run_id)

    async def current_run(self) -> str | None:
        """Return the run that the chain has come to; None if the id is another chain's by now."""
        described = await self._describe(None)
        same = self.first_run_id in ("", first_run_of(described))
        return described.run_id if same else None

    async def confirm(self, since: float) -> bool:
        """Whether the workflow id still was this chain's at the time ``since``, or after it.

        The base is that of then, too: a truncation may not have come by in the history yet. Those
        who ask at once share the answer.
        """
        async with self._confirming:
            if self._confirmed < since:
                now = self.loop.time()
                try:
                    described = await self._describe(None)
                except ServerUnavailableError:
                    if self.pinned_run_id is None:
                        raise
                    return True
                if self.first_run_id in ("", first_run_of(described)):
                    await self._raise_base(described)
                elif self.pinned_run_id is None:
                    return False
                self._confirmed = now
        return True

    async def _raise_base(self, described: WorkflowExecutionDescription) -> None:
        base, _ = await self._known_base(described)
        # A run started anew may have another base at the same offsets.
        if described.run_id == self.run_id:
            self.base = max(self.base, base)

    async def learn_base(self, since: float) -> None:
        """Ask the host of a polled stream for its base at the time ``since``, or after it.

        What the host drops after a page of it was read, no later page tells.
        """
        run_id = self.run_id
        if self.polls(run_id) and not self.done:
            base = await self._retained.base(run_id, self.base, self.head, since)
            if run_id == self.run_id:
                self.base = max(self.base, base)

    async def _describe(self, run_id: str | None) -> WorkflowExecutionDescription:
        handle = self.client.get_workflow_handle(self.workflow_id, run_id=run_id)
        return await rpc(handle.describe(), self.workflow_id)

    async def _run(self, start: int | Last) -> None:
        try:
            described = await self.describe()
            self.first_run_id = first_run_of(described)
            self.base, self._ring_buffer = await self._known_base(described)
            chain = Chain(
                self.client, self.workflow_id, described.run_id, offset=start, or_before=True
            )
            self.chain = chain
            async with aclosing(chain.pages()) as pages:
                async for page in pages:
                    for moment in page:
                        await self._take(moment)
                    self._enter(chain.run_id)
                    self._restarting = chain.restarting
                    self.seen_id, self._holds_early = chain.seen_id, chain.holds_early
                    self._note_beside(chain.held_bytes)
                    self._announce()
                    # Who waits takes what has come before more of it moves the ring on.
                    await asyncio.sleep(0)
        except Exception as err:
            self.error = err
        finally:
            self.done = True
            self._note_beside(0)
            forget(self)
            self._announce()

    async def _known_base(self, described: WorkflowExecutionDescription) -> tuple[int, bool]:
        """Read the base from the run's last record, which its memo shows."""
        fields = described.raw_info.memo.fields
        if wire.MEMO_KEY not in fields:
            return 0, False
        converter = converter_of(self.client, self.workflow_id)
        try:
            record = await record_in(converter, fields[wire.MEMO_KEY], self.workflow_id)
        except CodecError:
            # The history says so in its place, after what comes before it.
            return 0, False
        return record.base, record.ring

    async def _take(self, moment: Moment) -> None:
        while self.ring.size > RING_BYTES and self._waits():
            self._announce()
            self._room.clear()
            await self._room.wait()
        if moment.judged is not None:
            self.mailbox.deliver(moment.judged, moment.head)
        if moment.opened and self.floor is None:
            self.floor = moment.head - (len(moment.chunk.entries) if moment.chunk else 0)
        self._enter(moment.run_id)
        self.place = moment.place
        self.head, self.base = moment.head, max(self.base, moment.base)
        self.ring.append(moment)
        if moment.restarts:
            self.base, self._restarting, self.end = moment.base, False, None
            self.join_index, self.floor = self.ring.stop, moment.head
        self.end = moment.end or self.end
        while self.ring.size > RING_BYTES and len(self.ring) > 1 and not self._waits():
            self._drop()
        _rings.used(self, self.ring.size)

    def _note_beside(self, size: int) -> None:
        if size != self._beside:
            self._beside = size
            _rings.holds_beside(self, size)

    def _enter(self, run_id: str) -> None:
        if run_id != self.run_id:
            self._passed.add(self.run_id)
            self.run_id, self.place, self.seen_id = run_id, BEFORE_ALL, 0
            self._holds_early = False

    def _waits(self) -> bool:
        """Whether to wait for the one and only subscriber, who is at the ring's end."""
        if self._users != 1 or self.mailbox or len(self._cursors) != 1:
            return False
        [cursor] = self._cursors
        return cursor.index <= self.ring.start

    def _drop(self) -> None:
        moment = self.ring.drop()
        if self.ring.start > self.join_index:
            self.join_index = self.ring.start
            self.floor = max(self.floor or 0, moment.head)

    def _announce(self) -> None:
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()


_registry: Registry[Feed] = Registry()
_rings = Rings()


def feed_of(client: Client, workflow_id: str, run_id: str | None) -> Feed:
    """Return this event loop's feed of the stream, made anew if there is none that runs.

    The caller retains it at once, or has :meth:`Feed.found` let it go: nothing else would.
    """
    key = key_of(client, workflow_id, run_id)
    feed = _registry.get(client, key, lambda: Feed(client, workflow_id, run_id))
    if feed.done:
        forget(feed)
        feed = _registry.get(client, key, lambda: Feed(client, workflow_id, run_id))
    return feed


def feeds_reading(connection: ServiceClient) -> int:
    """Return how many histories are followed by way of a connection."""
    return sum(feed.reads for feed in _registry.all_of(connection))


async def hold(client: Client, workflow_id: str, run_id: str | None, start: int | Last) -> Feed:
    """Return the feed of the chain that the workflow id means now, retained for the caller."""
    since = asyncio.get_running_loop().time()
    while True:
        feed = feed_of(client, workflow_id, run_id)
        feed.retain(start)
        try:
            current = await feed.confirm(since)
        except BaseException:
            feed.release()
            raise
        if current:
            return feed
        feed.release()
        forget(feed)


def forget(feed: Feed) -> None:
    """Have the next subscriber make another feed; who reads this one may go on."""
    key = key_of(feed.client, feed.workflow_id, feed.pinned_run_id)
    _registry.remove(feed.client, feed.loop, key, feed)


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
