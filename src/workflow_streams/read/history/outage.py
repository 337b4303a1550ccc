"""How long reading a workflow has been failing: for the log, and for readers with a limit."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal
from weakref import WeakKeyDictionary

from temporalio.client import Client
from temporalio.service import ServiceClient

from ...errors import ServerUnavailableError
from ...temporal.rpc import explain

logger = logging.getLogger("workflow_streams")

TELL_SECONDS = 5.0
"""After this time, an outage is worth a warning."""

# Calls are made again within seconds, and end within 30 s. What is older nobody reads any more.
_FORGET_SECONDS = 60.0
_MOST = 10_000


Way = Literal["history", "poll"]
"""By what a stream is read. Each can fail by itself: the server may answer one, and refuse the
other."""

_WAYS: tuple[Way, ...] = ("history", "poll")


@dataclass(slots=True)
class _Outage:
    last: float
    error: Exception
    since: float = field(default_factory=time.monotonic)
    time: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    told: bool = False


_Key = tuple[str, str, Way]
_Outages = OrderedDict[_Key, _Outage]
_outages: WeakKeyDictionary[ServiceClient, _Outages] = WeakKeyDictionary()
_lock = threading.Lock()


def failed(client: Client, workflow_id: str, error: Exception, *, way: Way = "history") -> None:
    """Note that a call failed which is made again; all readers of a connection share that."""
    now = time.monotonic()
    with _lock:
        outages = _outages.get(client.service_client)
        if outages is None:
            outages = _outages[client.service_client] = OrderedDict()
        key = (client.namespace, workflow_id, way)
        outage = outages.get(key)
        if outage is None or now - outage.last > _FORGET_SECONDS:
            outage = outages[key] = _Outage(now, _bare(error))
        outage.last, outage.error = now, _bare(error)
        if len(outages) > _MOST:
            outages.popitem(last=False)
        told = any(other.told for other in _all_of(client, workflow_id))
        tell = not told and now - outage.since >= TELL_SECONDS
        outage.told = outage.told or tell
    if tell:
        logger.warning(
            "Reading workflow %r has failed for %.0f s, since %s, and is tried on: %s",
            workflow_id,
            now - outage.since,
            outage.time.isoformat(timespec="seconds"),
            error,
        )


def answered(client: Client, workflow_id: str, *, way: Way = "history") -> None:
    """Note that a call succeeded, or is not made again."""
    outages = _outages.get(client.service_client)
    if not outages:
        return
    with _lock:
        outage = outages.pop((client.namespace, workflow_id, way), None)
        others = _all_of(client, workflow_id)
        if outage is not None and outage.told and others:
            # It goes on in the other way, and has been told.
            others[0].told, others[0].since = True, min(others[0].since, outage.since)
            return
    if outage is not None and outage.told:
        logger.info(
            "Reading workflow %r goes on after %.0f s",
            workflow_id,
            time.monotonic() - outage.since,
        )


@asynccontextmanager
async def bounded(client: Client, workflow_id: str, seconds: float | None) -> AsyncGenerator[None]:
    """Bound the time that the block waits in an outage; without ``seconds``, it waits it out.

    Raises:
        ServerUnavailableError: Within the block, the outage has lasted that long.
    """
    if seconds is None:
        yield
        return
    limit = _Limit(client, workflow_id, seconds)
    try:
        async with limit.timeout:
            yield
    except TimeoutError as err:
        if not limit.timeout.expired():
            raise
        outage = _current(client, workflow_id)
        error = err if outage is None else outage.error
        raise ServerUnavailableError(
            f"Reading workflow {workflow_id!r} has failed for {seconds:g} s: "
            f"{explain(error, workflow_id)}"
        ) from error
    finally:
        limit.timer.cancel()


class _Limit:
    """Lets a timeout expire when an outage has lasted for some seconds since this was made."""

    def __init__(self, client: Client, workflow_id: str, seconds: float) -> None:
        self.timeout = asyncio.timeout(None)
        self._whose = client, workflow_id
        self._seconds = seconds
        self._began = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self.timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        outage, now = _current(*self._whose), time.monotonic()
        # An outage that begins right now is over the limit no sooner than this looks again.
        since = now if outage is None else max(outage.since, self._began)
        left = since + self._seconds - now
        if left > 0:
            self.timer = self._loop.call_later(left, self._look)
        else:
            self.timeout.reschedule(self._loop.time())


def _current(client: Client, workflow_id: str) -> _Outage | None:
    """Return the outage that has lasted longest."""
    with _lock:
        return min(_all_of(client, workflow_id), key=lambda o: o.since, default=None)


def _bare(error: Exception) -> Exception:
    """Return an error without its tracebacks, which would keep all that was being done then."""
    part: BaseException | None = error
    while part is not None:
        part.__traceback__ = None
        part = part.__cause__ or part.__context__
    return error


def _all_of(client: Client, workflow_id: str) -> list[_Outage]:
    """Return the outages that a workflow has now."""
    outages = _outages.get(client.service_client, _Outages())
    found = [outages.get((client.namespace, workflow_id, way)) for way in _WAYS]
    now = time.monotonic()
    return [o for o in found if o is not None and now - o.last <= _FORGET_SECONDS]
