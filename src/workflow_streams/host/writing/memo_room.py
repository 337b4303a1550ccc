"""Room in a workflow's memo: what is recorded has to fit there beside the workflow's own memo.

A record is a memo upsert, and the server ends a workflow whose memo gets over 2 MiB. Runs in the
workflow sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from ...log import wire
from ...log.entries import entries_bytes, entries_of, entry_bytes
from ...log.wire import Entry
from ...log.wire import WorkflowStreamState as State

# Names, versions, offsets and rules in an opening record, beside what grows.
_OPENING_OVERHEAD = 1024


def own_memo_bytes() -> int:
    """Return how large the workflow's own memo is."""
    return sum(
        len(name.encode()) + payload.ByteSize()
        for name, payload in workflow.info().raw_memo.items()
        if name != wire.MEMO_KEY
    )


def check_items(entries: Sequence[Entry]) -> None:
    """Raise if what is to be recorded does not fit; without items, if a truncation does not.

    Raises:
        ApplicationError: Type ``MemoFullError``.
    """
    own = own_memo_bytes()
    if not own:
        return
    sizes = [entry_bytes(*entry) for entry in entries]
    # A record holds one item, or as many as fit into a batch.
    record = max(max(sizes, default=0), min(sum(sizes), wire.MAX_BATCH_BYTES))
    if own + record > wire.MAX_ITEM_BYTES:
        what = f"An item of {max(sizes):,} bytes, or several of {sum(sizes):,}, do"
        raise _full(f"{what if sizes else 'A truncation does'} not fit", own)


def check_opening(size: int) -> None:
    """Raise if an opening record of so many bytes does not fit.

    Raises:
        ApplicationError: Type ``MemoFullError``.
    """
    own = own_memo_bytes()
    if own and own + size > wire.MAX_ITEM_BYTES:
        raise _full(f"The {size:,} bytes by which a run of a stream opens do not fit", own)


def _full(what: str, own: int) -> ApplicationError:
    return ApplicationError(
        f"{what} beside the {own:,} bytes of this workflow's own memo: together they may have "
        f"{wire.MAX_ITEM_BYTES:,}. Publish from an activity, or store what is large elsewhere and "
        "publish a reference",
        type="MemoFullError",
        non_retryable=True,
    )


def fitting(state: State) -> State:
    """Return what the prior run handed over, without what the opening record has no room for.

    The same is left out as when there is too much to hand over: what attempts wrote, then the
    publishers that were silent longest, then the earliest runs.
    """
    room = wire.MAX_ITEM_BYTES - own_memo_bytes()
    if _opening_bytes(state) > room:
        state = replace(state, written="")
    while state.publishers and _opening_bytes(state) > room:
        # The SDK hands the state over with its keys sorted.
        known = sorted(state.publishers.items(), key=lambda item: item[1].last_seen, reverse=True)
        state = replace(state, publishers=dict(known[: len(known) // 2]))
    while state.runs and _opening_bytes(state) > room:
        state = replace(state, runs=state.runs[(len(state.runs) + 1) // 2 :])
    return state


def _opening_bytes(state: State) -> int:
    sequences = {publisher_id: p.sequence for publisher_id, p in state.publishers.items()}
    runs = [[run.run_id, run.first_offset] for run in state.runs]
    texts = json.dumps([sequences, runs, state.order, state.written, state.closed])
    # Items are recorded only if they stand in no earlier history.
    carried = state.log if state.head is None else ()
    items = entries_bytes(entries_of((item.topic, item.data) for item in carried))
    return len(texts) + items + _OPENING_OVERHEAD
