"""Reads one stream on behalf of all its readers in a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress

from ...events import End, Last
from ..moments import Moment, Place
from ..source import Reading, Source
from .identity import Identity
from .mailbox import Mailbox
from .passed import PassedRuns
from .registry import Registry
from .ring import Ring
from .rings import Rings
from .view import View

RING_BYTES = 8 * 1024 * 1024
LINGER_SECONDS = 2.0

registry: Registry[Feed] = Registry()
rings = Rings()


class Cursor:
    """A subscriber's place in a feed.

    Attributes:
        index: Counts the feed's moments from its start.
        beside: How many bytes the subscriber holds of the history, while it reads beside the feed.
    """

    __slots__ = ("beside", "index")

    def __init__(self, index: int) -> None:
        """Begin at ``index``."""
        self.index = index
        self.beside = 0


class Feed:
    """Reads one stream into a ring of recent moments, bounded in bytes.

    Subscribers hold cursors into the ring. One whose cursor fell out reads the stream by
    itself until it meets the ring again (see :mod:`..walk`); it costs nobody else anything. A
    feed with a single subscriber waits for it instead.

    Attributes:
        source: What it reads.
        view: How far it has read.
        ring: The newest moments.
        mailbox: Verdicts that publishers in this process wait for.
        host: Answers what only the host of a polled run knows; None if no run is ever polled.
        done: It reads no more: at the end, after an error, or since nobody used it.
        error: What stopped it, if something did.
    """

    def __init__(self, source: Source) -> None:
        """Prepare; reading begins with the first :meth:`retain`."""
        self.source = source
        self.loop = asyncio.get_running_loop()
        self.view = View()
        self.ring = Ring()
        self.mailbox = Mailbox()
        self.done = False
        self.error: Exception | None = None
        self._identity = Identity(source)
        self._reading: Reading | None = None
        self._is_hastened = False
        self.host = source.host()
        self._passed = PassedRuns()
        self._beside = 0
        self._cursors: set[Cursor] = set()
        self._users = self._finders = 0
        self._progress = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None

    @property
    def workflow_id(self) -> str:
        """Workflow that hosts the stream."""
        return self.source.workflow_id

    # What it has read.

    @property
    def floor(self) -> int | None:
        """Offset from which the ring has everything; None before the stream has opened."""
        return self.ring.floor

    @property
    def head(self) -> int:
        """Offset that the next item gets."""
        return self.view.head

    @property
    def base(self) -> int:
        """Lowest retained offset."""
        return self.view.base

    @property
    def end(self) -> End | None:
        """How the stream ended, once that has been read."""
        return self.view.end

    @property
    def run_id(self) -> str:
        """The run being read; empty before the first."""
        return self.view.run_id

    @property
    def tag(self) -> str:
        """What makes a position of the head; empty before anything has been read."""
        return self.view.tag

    @property
    def first_run_id(self) -> str:
        """First run of the chain that it reads; empty until it is known."""
        return self._identity.first_run_id

    def has_read(self, run_id: str, event_id: int) -> bool:
        """Whether it is past this event, and what stands up to it has offsets."""
        view = self.view
        if view.run_id == run_id:
            return view.seen_id >= event_id and not view.holds_early
        return run_id in self._passed

    def has_come_to(self, run_id: str, place: Place) -> bool:
        """Whether its head counts what stands at this place."""
        return self.view.place >= place if self.run_id == run_id else run_id in self._passed

    def has_entered(self, run_id: str) -> bool:
        """Whether it has come to this run, or past it."""
        return self.done or self.run_id == run_id or run_id in self._passed

    def polls(self, run_id: str) -> bool:
        """Whether it has come to this run, and has to poll it."""
        return self.view.polled and self.run_id == run_id

    def standing(self, publisher_id: str, sequence: int) -> tuple[str, Place] | None:
        """Return the run and place up to which a batch has been read; None if it has not been.

        Reading may be a page ahead of :attr:`view`: :meth:`has_come_to` tells when the view has
        come there, too.
        """
        return None if self._reading is None else self._reading.standing(publisher_id, sequence)

    def last_sequence(self, publisher_id: str) -> int | None:
        """Return the last accepted batch of a publisher; None if none is known in this run."""
        return None if self._reading is None else self._reading.last_sequence(publisher_id)

    # Where the stream is now.

    async def current_run(self) -> str | None:
        """Return the run that the chain has come to; None if the id is another chain's by now."""
        return await self._identity.current_run()

    async def confirm(self, since: float) -> bool:
        """Whether the stream's name still meant this chain at the time ``since``, or after it.

        The base is then up to date, too, even if a truncation has not been read yet.
        """
        same = await self._identity.confirm(since)
        self._raise_base(*self._identity.base)
        return same

    async def learn_base(self, since: float) -> None:
        """Ask the host of a polled stream for its base at the time ``since``, or after it.

        What the host drops after a page of it was read, no later page tells.
        """
        view = self.view
        if view.polled and not self.done and self.host is not None:
            base = await self.host.base(view.run_id, view.base, view.head, since)
            self._raise_base(view.run_id, base)

    def _raise_base(self, run_id: str, base: int) -> None:
        # After a restart, another run may have another base at the same offsets.
        if run_id == self.view.run_id and base > self.view.base:
            self.view = self.view._replace(base=base)

    # Its life.

    def retain(self, start: int | Last = 0) -> None:
        """Keep the feed running; pair with :meth:`release`.

        A stream that has to be polled is read from the ``start`` that the first caller gives.
        """
        self._users += 1
        self._room.set()
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._task is None:
            self._identity.begin()
            name = f"follow {self.workflow_id}"
            self._task = self.loop.create_task(self._run(start), name=name)
        elif self._reading is not None:
            # Who comes to a stream often has just made something happen there.
            self._reading.wake()

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
                self.forget()

    def stop(self) -> None:
        """Stop reading; a later subscriber gets a new feed."""
        self.done = True
        self.forget()
        if self._task is not None:
            self._task.cancel()
        if self._users == 0:
            self._shrink(self.ring.size)

    def forget(self) -> None:
        """Have the next subscriber make another feed; readers of this one may go on."""
        registry.remove(self.source.connection, self.loop, self.source.key, self)

    @property
    def is_retained(self) -> bool:
        """Whether somebody uses it now."""
        return self._users > 0

    @property
    def reads(self) -> bool:
        """Whether it follows the stream now."""
        return self._task is not None and not self.done

    # Its subscribers.

    def attach(self, cursor: Cursor) -> None:
        """Let ``cursor`` count as a subscriber that the feed may have to wait for."""
        self._cursors.add(cursor)
        self._room.set()
        rings.used(self, self.ring.size)

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
        if self.view.restarting and self.run_id == run_id:
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
        """Wait as :meth:`wait` does, for what is known to stand in the stream."""
        if not reached():
            self._is_hastened = True
            if self._reading is not None:
                self._reading.hasten()
        await self.wait(reached)

    async def wait_past(self, index: int) -> None:
        """Wait for a moment at ``index``, or for the feed's end."""
        await self.wait(lambda: self.ring.stop > index)

    async def wait_level(self, run_id: str, place: Place) -> None:
        """If the feed reads this run, wait until it is not behind ``place`` any more."""
        await self.wait_known(
            lambda: self.error is not None or self.run_id != run_id or self.view.place >= place
        )

    async def wait_other_run(self, run_id: str) -> None:
        """Wait until the feed has left this run."""
        await self.wait_known(lambda: self.run_id != run_id)

    # The task that reads.

    async def _run(self, start: int | Last) -> None:
        try:
            run_id, keeps_last = await self._identity.learn()
            self.view = View(self.first_run_id, base=self._identity.base[1], keeps_last=keeps_last)
            self._reading = self.source.read(run_id, start, or_before=True)
            if self._is_hastened:
                self._reading.hasten()
            async with aclosing(self._reading.pages()) as pages:
                async for page in pages:
                    for moment in page.moments:
                        await self._take(moment)
                    self._enter(page.run_id)
                    self.view = self.view.at_end_of(page)
                    self._note_beside(page.held_bytes)
                    self._announce()
                    if self.floor is None:
                        # The run has begun, so its first task is about to open the stream.
                        self._reading.wake()
                    # Yield, so that waiting subscribers read this page before the next one
                    # evicts it.
                    await asyncio.sleep(0)
        except Exception as err:
            self.error = err
        finally:
            self.done = True
            self._note_beside(0)
            self.forget()
            self._announce()

    async def _take(self, moment: Moment) -> None:
        while self.ring.size > RING_BYTES and self._waits():
            self._announce()
            self._room.clear()
            await self._room.wait()
        if moment.judged is not None:
            self.mailbox.deliver(moment.judged, moment.head)
        self._enter(moment.run_id)
        self.view = self.view.after(moment)
        self.ring.append(moment)
        while self.ring.size > RING_BYTES and len(self.ring) > 1 and not self._waits():
            self.ring.drop()
        rings.used(self, self.ring.size)

    def _enter(self, run_id: str) -> None:
        if run_id != self.run_id:
            self._passed.add(self.run_id)
            self.view = self.view.entering(run_id)

    def _waits(self) -> bool:
        """Whether to wait for the only subscriber, since it has not read the oldest moment yet."""
        if self._users != 1 or self.mailbox or len(self._cursors) != 1:
            return False
        [cursor] = self._cursors
        return cursor.index <= self.ring.start

    def _announce(self) -> None:
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()

    # Its memory.

    def give_way(self, size: int) -> None:
        """Drop ``size`` bytes of the ring or somewhat more; from any thread."""
        if asyncio.get_running_loop() is self.loop:
            self._shrink(size)
        else:
            with suppress(RuntimeError):  # its loop may be closed
                self.loop.call_soon_threadsafe(self._shrink, size)

    def _shrink(self, size: int) -> None:
        # Even moments that the only subscriber has not read: it will read the stream instead.
        most = self.ring.size - size
        while len(self.ring) and self.ring.size > most:
            self.ring.drop()
        rings.shrunk(self, self.ring.size)

    def _note_beside(self, size: int) -> None:
        if size != self._beside:
            self._beside = size
            rings.holds_beside(self, size)
