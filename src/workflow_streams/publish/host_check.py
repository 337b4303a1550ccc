"""Finds out, before a publisher sends, whether a workflow hosts a stream, and may be written to.

The server takes signals for any workflow that runs, and the SDK keeps those that no handler takes.
So items for a workflow without a stream, such as a child of the one that has it, would be lost
silently. And items for a stream that is still being made would stand amid what it begins with.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.service import ServiceClient

from ..errors import (
    StreamClosedError,
    StreamGoneError,
    StreamNotFoundError,
    StreamUnfinishedError,
)
from ..log import wire
from ..read.runs.gone import check_not_gone
from ..temporal import messages
from ..temporal.bound import BoundWorkflow
from ..temporal.codec import memo_value
from ..temporal.handles import client_of, first_run_of
from ..temporal.rpc import may_not_look

# Timeout of each call. If no answer comes, the items are sent all the same.
_TIMEOUT = timedelta(seconds=1)
_FIRST_PAUSE_SECONDS = 1.0
_MOST_LOOKS = 4
_MOST_KNOWN = 10_000

# A host of this package may be followed by one of the contrib, under the same id, which could not
# read the compact form. So what is known of a host is looked up again after this time.
_OURS_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Host:
    """A workflow that hosts a stream.

    Attributes:
        seen_at: When a host of this package was seen last, in the event loop's time; None for a
            contrib's.
        runs: Of a hosted stream, the run that was seen and the first one of its chain.
    """

    seen_at: float | None
    runs: tuple[str, str] | None = None


Look: TypeAlias = Callable[[Callable[[], Coroutine[Any, Any, bool]]], Awaitable[bool]]
"""Makes a look, or waits for the one that another sender has begun."""

_Known = OrderedDict[tuple[str, str], _Host]
_known: WeakKeyDictionary[ServiceClient, _Known] = WeakKeyDictionary()
_lock = threading.Lock()


class HostCheck:
    """One sender's look at the workflow that it sends to.

    A stream of this package shows in the workflow's memo, so that one call finds it; a contrib's
    stream answers a query. Workflows that host a stream are remembered for all senders of the
    connection. A workflow with a pending task may be about to make its stream. In that case, and
    when no answer comes, a few later batches look again.

    Attributes:
        reads_compact: Whether the host is known to be of this package, which reads the compact form
            of a batch.
        hosted: The stream's workflow, if it is one of this package. Such a stream can be closed
            and deleted while somebody publishes to it.
    """

    def __init__(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Begin with nothing known."""
        self.reads_compact = False
        self.hosted: BoundWorkflow | None = None
        self._handle = handle
        self._looks = 0
        self._next = float("-inf")

    async def before(self, look: Look) -> None:
        """Look at the workflow before a batch is sent, if there is still something to find out.

        Args:
            look: Makes the look, one at a time for all senders to the workflow.

        Raises:
            StreamNotFoundError: The workflow is known to host no stream.
            StreamGoneError: Its stream has been deleted or has expired.
            StreamClosedError: Its stream has been closed.
            StreamUnfinishedError: What its stream was made with has not all been written yet.
        """
        known, now = self.recall(), asyncio.get_running_loop().time()
        if known or now < self._next or (known is None and self._looks >= _MOST_LOOKS):
            return
        self._looks = _MOST_LOOKS if await look(self._hosts) else min(self._looks + 1, _MOST_LOOKS)
        if not self.recall():
            # It was refused, or not answered; what was known stays as old as it is.
            self._next = now + _FIRST_PAUSE_SECONDS * 2 ** (self._looks - 1)

    def recall(self) -> bool | None:
        """Take over what is known of the host; return whether it is good enough.

        None if nothing is known.
        """
        host, now = _known_of(self._handle), asyncio.get_running_loop().time()
        seen_at = None if host is None else host.seen_at
        self.reads_compact = seen_at is not None and now - seen_at < _OURS_SECONDS
        if host is None:
            return None
        self._note_runs(host.runs)
        return seen_at is None or self.reads_compact

    def _note_runs(self, runs: tuple[str, str] | None) -> None:
        if runs is None:
            self.hosted = None
        elif self.hosted is None or self.hosted.first_run_id != runs[1]:
            self.hosted = BoundWorkflow(client_of(self._handle), self._handle.id, *runs)

    async def _hosts(self) -> bool:
        """Look; return whether nothing is left to find out."""
        handle = self._handle
        try:
            described = await handle.describe(rpc_timeout=_TIMEOUT)
            await check_not_gone(described)
            runs = _hosted_runs(described)
            self._note_runs(runs)
            if await _is_unfinished(described):
                raise StreamUnfinishedError(handle.id)
            if runs is not None and await memo_value(described, wire.CLOSED_MEMO_KEY, bool):
                raise StreamClosedError(handle.id, "the stream has been closed")
            is_ours = wire.MEMO_KEY in described.raw_info.memo.fields
            if not is_ours:
                if not _rests(described):
                    return False
                await handle.query(wire.OFFSET_QUERY, result_type=int, rpc_timeout=_TIMEOUT)
        except WorkflowQueryFailedError as err:
            if not messages.query_unknown(err, wire.OFFSET_QUERY):
                return False
            raise StreamNotFoundError(
                handle.id,
                "hosts no stream, so nobody would take the items. To publish to another workflow "
                "from an activity, such as the parent, use from_within_activity(workflow_id=...)",
            ) from err
        except (StreamClosedError, StreamGoneError, StreamUnfinishedError):
            raise
        except Exception as err:
            # The signal will meet any other fault, and report it.
            return may_not_look(err)
        now = asyncio.get_running_loop().time()
        _remember(handle, _Host(now if is_ours else None, runs))
        return True


def _hosted_runs(described: WorkflowExecutionDescription) -> tuple[str, str] | None:
    """Return the run of a hosted stream, and the first one of its chain; None for other streams."""
    if wire.SETUP_MEMO_KEY not in described.raw_info.memo.fields:
        return None
    return described.run_id, first_run_of(described)


async def _is_unfinished(described: WorkflowExecutionDescription) -> bool:
    """Whether the workflow runs, and what its stream was made with has not all been written."""
    if described.status != WorkflowExecutionStatus.RUNNING:
        return False
    return bool(await memo_value(described, wire.UNFINISHED_MEMO_KEY, bool))


def _rests(described: WorkflowExecutionDescription) -> bool:
    """Whether the workflow runs and has no task pending."""
    pending = described.raw_description.HasField("pending_workflow_task")
    return described.status == WorkflowExecutionStatus.RUNNING and not pending


def _key(handle: WorkflowHandle[Any, Any]) -> tuple[ServiceClient, tuple[str, str]]:
    client = client_of(handle)
    return client.service_client, (client.namespace, handle.id)


def _known_of(handle: WorkflowHandle[Any, Any]) -> _Host | None:
    """Return what is known of the workflow, if it is known to host a stream."""
    service, key = _key(handle)
    with _lock:
        return _known.get(service, _Known()).get(key)


def forget_host(client: Client, workflow_id: str) -> None:
    """Have publishers of this connection look at a workflow again, since it is about to change."""
    with _lock:
        _known.get(client.service_client, _Known()).pop((client.namespace, workflow_id), None)


def _remember(handle: WorkflowHandle[Any, Any], host: _Host) -> None:
    service, key = _key(handle)
    with _lock:
        known = _known.setdefault(service, OrderedDict())
        known[key] = host
        known.move_to_end(key)
        if len(known) > _MOST_KNOWN:
            known.popitem(last=False)
