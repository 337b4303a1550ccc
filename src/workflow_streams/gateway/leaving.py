"""Notices that the server of the application is about to end, whichever server that is.

A server runs the end of the application's lifespan only when all connections have ended, and an
event stream does not end by itself for an hour. So viewers have to be sent away before.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

_PERIOD_SECONDS = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], Any]


async def watch_server(leave: Callable[[], None]) -> None:
    """Call ``leave`` when the server that runs on this event loop is about to end.

    uvicorn is asked; it may also be run by its reloader, by gunicorn, or in a thread. With any
    other server, the end is near when the process gets SIGINT or SIGTERM. Those are noticed on
    the main thread only, are passed on to the handlers that were there before, and are given
    back when this is cancelled.
    """
    server = _uvicorn_here()
    if server is not None:
        # Nothing tells but asking.
        while not _is_ending(server):  # noqa: ASYNC110
            await asyncio.sleep(_PERIOD_SECONDS)
        leave()
        return
    signalled = asyncio.Event()
    with _noticing(signalled):
        await signalled.wait()
        leave()
        # Others may have put handlers of their own before ours, which then pass signals on to it.
        await asyncio.Event().wait()


def _uvicorn_here() -> uvicorn.Server | None:
    """Return the uvicorn server that serves on this event loop: the one that a task awaits."""
    for task in asyncio.all_tasks():
        awaited: Any = task.get_coro()
        while inspect.iscoroutine(awaited):
            owner = inspect.getcoroutinelocals(awaited).get("self")
            if isinstance(owner, uvicorn.Server):
                return owner
            awaited = awaited.cr_await
    return None


def _is_ending(server: uvicorn.Server) -> bool:
    """Whether it has been told to end, or ends by itself, such as at a limit of requests."""
    listening: list[asyncio.Server] = getattr(server, "servers", [])  # set once it has started
    return server.should_exit or any(not socket.is_serving() for socket in listening)


@contextmanager
def _noticing(signalled: asyncio.Event) -> Iterator[None]:
    """Set ``signalled`` when a signal comes that ends the process, within the block."""
    before: dict[signal.Signals, Handler] = {}
    if threading.current_thread() is threading.main_thread():
        # Where nothing handles a signal, it ends the process at once, or does nothing at all.
        before = {s: handler for s in _SIGNALS if callable(handler := signal.getsignal(s))}
    loop = asyncio.get_running_loop()

    def notice(number: int, frame: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(signalled.set)
        before[signal.Signals(number)](number, frame)

    for number in before:
        signal.signal(number, notice)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is notice:
                signal.signal(number, handler)
