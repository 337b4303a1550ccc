"""Notices that the server is about to shut down, whichever server runs the application.

A server ends the application's lifespan only after all connections have ended, and an event stream
would go on for up to an hour. So viewers have to be sent away before that.
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
    """Call ``leave`` when the server that runs on this event loop is about to shut down.

    A uvicorn server is asked directly, however it was started: by its reloader, by gunicorn, or in
    a thread. Any other server is taken to shut down when the process gets SIGINT or SIGTERM. These
    signals are noticed on the main thread only, and are passed on to the handlers that were there
    before. Those handlers are put back when this is cancelled.
    """
    server = _uvicorn_here()
    if server is not None:
        # uvicorn has no event for this, so it has to be polled.
        while not _is_ending(server):  # noqa: ASYNC110
            await asyncio.sleep(_PERIOD_SECONDS)
        leave()
        return
    signalled = asyncio.Event()
    with _noticing(signalled):
        await signalled.wait()
        leave()
        # Other code may have installed handlers since, which pass signals on to ours. So ours stays
        # until this is cancelled.
        await asyncio.Event().wait()


def _uvicorn_here() -> uvicorn.Server | None:
    """Return the uvicorn server of this event loop, found as the one that some task awaits."""
    for task in asyncio.all_tasks():
        awaited: Any = task.get_coro()
        while inspect.iscoroutine(awaited):
            owner = inspect.getcoroutinelocals(awaited).get("self")
            if isinstance(owner, uvicorn.Server):
                return owner
            awaited = awaited.cr_await
    return None


def _is_ending(server: uvicorn.Server) -> bool:
    """Whether it was told to shut down, or does so by itself, at a limit of requests say."""
    listening: list[asyncio.Server] = getattr(server, "servers", [])  # set once it has started
    return server.should_exit or any(not socket.is_serving() for socket in listening)


@contextmanager
def _noticing(signalled: asyncio.Event) -> Iterator[None]:
    """Within the block, set ``signalled`` when a signal comes that ends the process."""
    before: dict[signal.Signals, Handler] = {}
    if threading.current_thread() is threading.main_thread():
        # A signal without a handler ends the process at once, or is ignored: nothing to notice.
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
