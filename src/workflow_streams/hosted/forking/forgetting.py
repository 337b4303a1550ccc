"""Has a stream forget those of its forks that are gone.

A fork cannot tell its source that it is gone. The server drops what a workflow sends in its last
task; before that, the fork may still be used and go on. And a fork that retention or an operator
has deleted says nothing. So the forks that a source knows are looked up: when a fork has ended,
when the source is deleted and while it is kept for its forks, and when it has no room for another.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
)

from ...errors import CodecError, StreamClosedError, StreamNotFoundError
from ...log.positions import chain_digest
from ...read.runs.gone import is_gone
from ...temporal.codec import memo_value
from ...temporal.handles import first_run_of
from ...temporal.link import Link
from ..host import FORKS_GONE_SIGNAL, FORKS_MEMO_KEY, FORKS_QUERY
from ..streams import setup_of, shared_with
from .noted import ForkList

_MOST = 100
# Between a look and the signal with what was found, the source may have rolled over.
_TRIES = 3
# A fork that was closed can be read until its run is deleted; no other end leaves a fork.
_STANDING = (
    WorkflowExecutionStatus.RUNNING,
    WorkflowExecutionStatus.CONTINUED_AS_NEW,
    WorkflowExecutionStatus.COMPLETED,
)


async def forget_gone_forks(
    link: Link,
    source: str,
    fork: str | None = None,
    *,
    most: int = _MOST,
    on_look: Callable[[], object] = lambda: None,
) -> int:
    """Look whether a stream's forks are still there; have it forget those that are not.

    Args:
        link: The way to Temporal.
        source: The stream.
        fork: The only fork to look at. Default: all of them.
        most: At how many forks to look, one after the other; chosen at random if there are more.
        on_look: Called before each fork that is looked at.

    Returns:
        How many it was told to forget.

    Raises:
        WorkflowStreamError: Temporal did not answer.
    """
    handle = link.client.get_workflow_handle(source)
    for _ in range(_TRIES):
        try:
            described = await link.call(handle.describe(), source)
            if not await _has_forks(described):
                return 0
            run = link.client.get_workflow_handle(source, run_id=described.run_id)
            call = run.query(FORKS_QUERY, result_type=ForkList)
            listed = await link.call(call, source)
            names = listed.names if fork is None else [fork] if fork in listed.names else []
            gone: list[str] = []
            for name in random.sample(names, min(most, len(names))):
                on_look()
                if await _is_gone(link, name, source, first_run_of(described)):
                    gone.append(name)
            if gone:
                telling = run.signal(FORKS_GONE_SIGNAL, args=[listed.notes, gone])
                await link.call(telling, source)
            return len(gone)
        except StreamClosedError:
            continue
        except (StreamNotFoundError, WorkflowQueryFailedError):
            # It has been deleted meanwhile, or its worker is of an earlier version.
            break
    return 0


async def _has_forks(described: WorkflowExecutionDescription) -> bool:
    """Whether this is a hosted stream that counts forks."""
    if described.status != WorkflowExecutionStatus.RUNNING:
        return False
    if await setup_of(described) is None:
        return False
    return bool(await memo_value(described, FORKS_MEMO_KEY, int))


async def _is_gone(link: Link, fork: str, source: str, first_run_id: str) -> bool:
    """Whether there is no fork of this name that was made of the source."""
    try:
        described = await link.call(link.client.get_workflow_handle(fork).describe(), fork)
    except StreamNotFoundError:
        return True
    try:
        setup = await setup_of(described)
        if setup is None or setup.forked_from != source or await is_gone(described):
            return True
    except CodecError:
        return False  # it is not known what that is
    shared = shared_with(setup)
    if shared and chain_digest(first_run_id).hex() not in shared:
        return True  # its source was an earlier stream of that name
    return described.status not in _STANDING
