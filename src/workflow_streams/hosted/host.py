"""The workflow of streams for which the user writes none.

Such a stream is made, written and closed from outside, usually by the gateway. Its workflow only
keeps it open: it rolls over by itself, and ends when the stream is closed or has expired.
"""

# No `from __future__ import annotations`: payload converters look the types up by the module's
# name, which the sandbox does not know when the package was passed through.
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.workflow import ParentClosePolicy

from ..host.stream import WorkflowStream
from ..log.wire import (
    CLOSED_MEMO_KEY,
    DELETED_MEMO_KEY,
    EXPIRED_MEMO_KEY,
    EXPIRES_MEMO_KEY,
    SETUP_MEMO_KEY,
    UNFINISHED_MEMO_KEY,
    Rules,
    WorkflowStreamState,
)
from .forking.noted import ForkList, NotedForks

HOST_WORKFLOW = "WorkflowStreamHost"
HOST_TASK_QUEUE = "workflow-streams-host"
PARTING_WORKFLOW = "WorkflowStreamParting"
"""Workflow that a fork starts when it expires; it has the source forget the fork."""

HOST_TASK_TIMEOUT = timedelta(seconds=3)
"""How long a worker may take for a task of a host.

While a worker has a task, the server holds back what is written to the stream. So this is how long
readers and writers wait when a worker is killed with a task in hand; Temporal's default is 10 s.
It has to leave time for the replay with which another worker begins: that of a full run of 4,096
events takes 0.6 s of a processor, and as much again for each other one that runs at the same time.
"""

FORKS_MEMO_KEY = "__temporal_workflow_stream_forks"
"""Memo field with the number of a stream's forks."""

TOUCH_SIGNAL = "__temporal_workflow_stream_touch"
"""Signal that tells of a read, which keeps a stream with a time to live alive."""
FORK_GONE_SIGNAL = "__temporal_workflow_stream_fork_gone"
"""Signal of earlier versions: a fork of the stream is no more. Argument: the fork's workflow id."""
FORKS_GONE_SIGNAL = "__temporal_workflow_stream_forks_gone"
"""Signal that tells a stream which of its forks are no more.

Arguments: the number of notes in the list that was looked at, and the forks' workflow ids.
"""
FORKS_QUERY = "__temporal_workflow_stream_forks"
"""Query that returns a stream's forks, as a :class:`ForkList`."""
FORK_SIGNAL = "__temporal_workflow_stream_fork_made"
"""Signal that tells a stream of a fork. Argument: its workflow id. The query tells the result.

It is no Update, since the server lets ten of them wait, and clients that poll may have taken these.
"""
DELETE_SIGNAL = "__temporal_workflow_stream_delete_for_forks"
"""Signal that deletes a stream if it has forks; else the stream goes on. The query tells which."""
FORK_UPDATE = "__temporal_workflow_stream_fork"
"""Update of earlier versions, instead of that signal. It returns false if the stream is deleted."""
DELETE_UPDATE = "__temporal_workflow_stream_delete"
"""Update of earlier versions, instead of that signal. It returns whether the stream is deleted."""

TOO_MANY_FORKS = "TooManyForks"
"""Type of the error of a fork Update that is refused."""
NOT_A_WORKFLOW_ID = "NotAWorkflowId"
"""Type of the error of a fork Update whose argument is no workflow id."""

LAST_OF_FORK = 1_000_000_000
"""Number of the last batch that a fork begins with, however many there are."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # which has no UTF-8
# Producers over HTTP may come back after any time. What is handed on of them is bounded in bytes.
_PUBLISHER_TTL = timedelta(days=365)
# The longest timer that is set; when it fires, another one is.
_LONGEST_WAIT = timedelta(days=365)
_SHORTEST_WAIT = timedelta(milliseconds=1)
_LONGEST_TTL_SECONDS = 100 * 365 * 24 * 3600
# Marks runs whose source is told once they have ended. Runs of earlier versions told it before.
_PARTING_PATCH = "workflow-streams-parting"
# Marks runs whose worker has taken signals about forks. One of an earlier version left them aside.
_FORK_SIGNALS_PATCH = "workflow-streams-fork-signals"


@dataclass(frozen=True)
class HostSetup:
    """What a hosted stream was made with.

    Attributes:
        content_type: Media type of everything in it.
        ttl_seconds: The stream expires when it has been neither read nor written for this long.
        expires_at: It expires at this time, RFC 3339.
        closed: Whether it was made to be closed at once.
        initial: Whether it was made with content.
        forked_from: Workflow id of the stream that it was forked from.
        fork_offset: Where it was forked, if that was said.
        fork_sub_offset: How far past that, in messages or bytes.
        inherits: How many items of that stream it begins with.
        deleted: Whether it has been deleted, so that this run only says so.
        sources: The streams that it descends from by forks: the digests of their chains, in
            hexadecimal, separated by commas. Positions of those streams are valid here, too, for
            all that this one began with, or up to an offset that follows the digest after an ``@``.
        maker: Publisher of what the stream begins with. Other writers wait until all of that is in.
            Empty if there is nothing to wait for, or not any more, and for streams that earlier
            versions made, where nobody waits.
    """

    content_type: str
    ttl_seconds: int | None = None
    expires_at: str | None = None
    closed: bool = False
    initial: bool = False
    forked_from: str | None = None
    fork_offset: int | None = None
    fork_sub_offset: int = 0
    inherits: int | None = None
    deleted: bool = False
    sources: str = ""
    maker: str = ""

    @property
    def last_sequence(self) -> int:
        """Number of the last batch that the stream begins with."""
        return 1 if self.forked_from is None else LAST_OF_FORK

    @property
    def expiry(self) -> datetime | None:
        """``expires_at`` as a time."""
        return None if self.expires_at is None else datetime.fromisoformat(self.expires_at)


@dataclass(frozen=True)
class HostInput:
    """Input of :class:`WorkflowStreamHost`."""

    setup: HostSetup
    stream_state: WorkflowStreamState | None = None
    used_at: float | None = None
    """When the stream was last read or written before this run, in Unix seconds."""
    forks: list[str] = field(default_factory=list[str])
    """Its forks that are still there."""
    deleted: bool = False
    """Whether it has been deleted, and is here for its forks only."""
    closed_rolls_over: bool = False
    """Whether it rolls over after it was closed, too. Runs of earlier versions did not, and have to
    do the same in a replay."""
    marks_closed: bool = False
    """Whether its memo says that it was closed. The same holds for runs of earlier versions."""


@workflow.defn(name=HOST_WORKFLOW, sandboxed=False)
class WorkflowStreamHost:
    """Keeps one stream open. It does nothing for which it would need a sandbox."""

    @workflow.init
    def __init__(self, host: HostInput) -> None:
        """Open the stream in this run."""
        self._setup = host.setup
        rules = Rules(host.setup.content_type, closable=True)
        self.stream = WorkflowStream(host.stream_state, _rules=rules)
        now = workflow.now()
        used = host.used_at
        self._used_at = now if used is None else datetime.fromtimestamp(used, timezone.utc)
        self._used = False
        self._seen = 0
        self._forks = NotedForks(host.forks)
        self._deleted = host.deleted
        self._takes_fork_signals = True
        self._closed_rolls_over = host.closed_rolls_over
        # The run after the one in which it was closed begins with a memo that says so.
        was_closed = host.stream_state is not None and bool(host.stream_state.closed)
        self._closed_is_told = was_closed or not host.marks_closed
        if host.marks_closed:
            self.stream._tell_pollers_end()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    @workflow.run
    async def run(self, host: HostInput) -> None:
        """Wait for the end, or for the rollover."""
        if host.setup.deleted:
            return
        while not self._over():
            self._used, left = False, self._time_left()
            try:
                await workflow.wait_condition(self._stirs, timeout=left)
            except TimeoutError:
                # The clock does not decide, since a replay may show several tasks as one, at the
                # time of the last of them.
                if not self._used and left != _LONGEST_WAIT and await self._leaves():
                    return
            if self._is_finished():
                self._setup = replace(self._setup, maker="")
                # To remove the field would not do: a payload codec hides from the server that a
                # value is none.
                workflow.upsert_memo({SETUP_MEMO_KEY: self._setup, UNFINISHED_MEMO_KEY: False})
            if self._is_to_tell_closed():
                self._closed_is_told = True
                workflow.upsert_memo({CLOSED_MEMO_KEY: True})
            if self._rolls_over():
                await self.stream.continue_as_new(self._go_on, publisher_ttl=_PUBLISHER_TTL)
        if self._deleted:
            await self._leaves()

    @workflow.signal(name=TOUCH_SIGNAL)
    def touch(self) -> None:
        """Note that the stream has been read."""
        self._note_use()

    @workflow.update(name=FORK_UPDATE)
    def fork(self, *arguments: Any) -> bool:
        """Note a fork; false if the stream has been deleted, and takes none.

        Raises:
            ApplicationError: Type ``TooManyForks``: a run could not hand them all on to the next.
        """
        workflow_id = _workflow_id_in(arguments)
        if workflow_id is not None and not self._note_fork(workflow_id):
            raise ApplicationError("The stream has too many forks", type=TOO_MANY_FORKS)
        return not self._deleted

    @workflow.signal(name=FORK_SIGNAL)
    def fork_made(self, *arguments: Any) -> None:
        """Note a fork, if there is room for it and the stream has not been deleted."""
        workflow_id = _workflow_id_in(arguments)
        if workflow_id is not None and self._may_take_fork_signal():
            self._note_fork(workflow_id)

    def _may_take_fork_signal(self) -> bool:
        self._takes_fork_signals = workflow.patched(_FORK_SIGNALS_PATCH)
        return self._takes_fork_signals

    def _note_fork(self, workflow_id: str) -> bool:
        """Note a fork, unless the stream is deleted; false if there is no room for it."""
        if not self._deleted:
            if not self._forks.note(workflow_id):
                return False
            workflow.upsert_memo({FORKS_MEMO_KEY: len(self._forks)})
        return True

    @fork.validator
    def _check_fork(self, *arguments: Any) -> None:
        if _workflow_id_in(arguments) is None:
            raise ApplicationError(
                "The Update takes one argument, the fork's workflow id", type=NOT_A_WORKFLOW_ID
            )

    @workflow.signal(name=FORK_GONE_SIGNAL)
    def fork_gone(self, *arguments: Any) -> None:
        """Forget a fork."""
        workflow_id = _workflow_id_in(arguments)
        if workflow_id is not None:
            self._forks.forget(workflow_id)
            workflow.upsert_memo({FORKS_MEMO_KEY: len(self._forks)})

    @workflow.query(name=FORKS_QUERY)
    def forks(self) -> ForkList:
        """Return the forks, so that it can be looked up whether they are still there."""
        return self._forks.listed(deleted=self._deleted if self._takes_fork_signals else None)

    @workflow.signal(name=FORKS_GONE_SIGNAL)
    def forks_gone(self, *arguments: Any) -> None:
        """Forget forks that are gone, except for those that have been noted again since."""
        match arguments:
            case (int(notes), list(names)):
                for name in names:
                    if isinstance(name, str):
                        self._forks.forget(name, notes)
                workflow.upsert_memo({FORKS_MEMO_KEY: len(self._forks)})
            case _:
                pass

    @workflow.update(name=DELETE_UPDATE)
    def delete(self) -> bool:
        """Delete the stream, if it has forks; return whether it has."""
        self._delete()
        return bool(self._forks)

    @workflow.signal(name=DELETE_SIGNAL)
    def delete_for_forks(self) -> None:
        """Delete the stream, if it has forks."""
        if self._may_take_fork_signal():
            self._delete()

    def _delete(self) -> None:
        if self._forks:
            self._deleted = True
            workflow.upsert_memo({DELETED_MEMO_KEY: True})

    def _go_on(self, state: WorkflowStreamState) -> NoReturn:
        used, forks = self._used_at.timestamp(), self._forks.names
        following = HostInput(
            self._setup,
            state,
            used,
            forks,
            self._deleted,
            closed_rolls_over=True,
            marks_closed=True,
        )
        # By itself, the next run would have the memo that the first one was started with.
        memo = _memo_of(self._setup)
        memo[CLOSED_MEMO_KEY] = self.stream.closed
        if forks:
            memo[FORKS_MEMO_KEY] = len(forks)
        if self._deleted:
            memo[DELETED_MEMO_KEY] = True
        workflow.continue_as_new(args=[following], memo=memo)

    async def _leaves(self) -> bool:
        """Mark the stream as gone, unless it is used at the last moment; return whether it is gone.

        Nothing is awaited after the decision, so that it is made in the last workflow task. The
        server refuses to end a workflow if a signal has come during that task; the task is then
        done again, with the signal.
        """
        if self._setup.forked_from is not None:
            if not workflow.patched(_PARTING_PATCH):
                await self._leave_as_before(self._setup.forked_from)
                return True
            await self._start_parting(self._setup.forked_from)
        self._note_writes()
        used = self._used and self._setup.ttl_seconds is not None
        gone = self._over() if self._deleted else not used
        if gone:
            workflow.upsert_memo({EXPIRED_MEMO_KEY: True})
        return gone

    async def _start_parting(self, source: str) -> None:
        """Have the stream that this one was forked from forget it, once this one has ended.

        Another workflow does it. In its last task this one cannot, since the server drops signals
        that a workflow sends as it ends, and does not start its children, not even abandoned ones.
        Earlier would be too early, since this stream may still be used and go on.
        """
        own = workflow.info()
        await workflow.start_child_workflow(
            PARTING_WORKFLOW,
            args=[source, own.workflow_id, own.run_id],
            id=f"workflow-streams-parting-{workflow.uuid4()}",
            parent_close_policy=ParentClosePolicy.ABANDON,
        )

    async def _leave_as_before(self, source: str) -> None:
        """Do what earlier versions did, in a replay of what they have begun."""
        workflow.upsert_memo({EXPIRED_MEMO_KEY: True})
        handle = workflow.get_external_workflow_handle(source)
        with suppress(FailureError):  # it may be gone itself
            await handle.signal(FORK_GONE_SIGNAL, workflow.info().workflow_id)

    def _over(self) -> bool:
        """Whether the workflow may end.

        A closed stream that is to expire stays until then. One that is closed or deleted stays
        until its last fork is gone.
        """
        if self._forks:
            return False
        expires = self._setup.ttl_seconds is not None or self._setup.expires_at is not None
        return self._deleted or (self.stream.closed and not expires)

    def _stirs(self) -> bool:
        """Whether there is something to do."""
        self._note_writes()  # this is evaluated after each batch of signals
        return (
            self._over() or self._is_finished() or self._is_to_tell_closed() or self._rolls_over()
        )

    def _note_writes(self) -> None:
        signals = self.stream.signal_count
        if signals != self._seen:
            self._seen = signals
            self._note_use()

    def _is_finished(self) -> bool:
        """Whether all is there now for which other writers have been waiting."""
        maker, last = self._setup.maker, self._setup.last_sequence
        return bool(maker) and (self.stream.last_sequence(maker) or 0) >= last

    def _is_to_tell_closed(self) -> bool:
        """Whether the stream has been closed, and goes on without saying so."""
        return not self._closed_is_told and self.stream.closed and not self._over()

    def _rolls_over(self) -> bool:
        if not self.stream.rollover_due:
            return False
        return not self.stream.closed or (self._closed_rolls_over and not self._over())

    def _note_use(self) -> None:
        now = workflow.now()
        if now > self._used_at:
            self._used_at, self._used = now, True

    def _time_left(self) -> timedelta | None:
        if self._deleted:
            return None
        if self._setup.ttl_seconds is not None:
            ttl = timedelta(seconds=min(self._setup.ttl_seconds, _LONGEST_TTL_SECONDS))
            left = ttl - (workflow.now() - self._used_at)
        elif self._setup.expiry is not None:
            left = self._setup.expiry - workflow.now()
        else:
            return None
        # With no time left, no timer would be set, and the wait would be over within this task.
        return max(_SHORTEST_WAIT, min(left, _LONGEST_WAIT))


def _memo_of(setup: HostSetup) -> dict[str, Any]:
    """Return the memo that a run of a host begins with."""
    memo: dict[str, Any] = {SETUP_MEMO_KEY: setup, CLOSED_MEMO_KEY: False}
    if setup.maker:
        memo[UNFINISHED_MEMO_KEY] = True
    if setup.expires_at is not None:
        memo[EXPIRES_MEMO_KEY] = setup.expires_at
    if setup.deleted:
        memo[EXPIRED_MEMO_KEY] = True
    return memo


def _workflow_id_in(arguments: tuple[Any, ...]) -> str | None:
    """Return a workflow id that came as a message's only argument; None if none did.

    The SDK calls a handler that has parameters with whatever came. An error in the handler would
    stop the workflow for good, and so would something in its state that cannot be handed on.
    """
    match arguments:
        case (str(workflow_id),) if not _LONE_SURROGATE.search(workflow_id):
            return workflow_id
        case _:
            return None


async def start_host(
    client: Client,
    workflow_id: str,
    setup: HostSetup,
    *,
    task_queue: str = HOST_TASK_QUEUE,
    reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.REJECT_DUPLICATE,
    start_delay: timedelta | None = None,
) -> str:
    """Start the host of a new stream; return its run.

    Args:
        client: Temporal client.
        workflow_id: The stream's name.
        setup: What it is made with.
        task_queue: Task queue of hosted streams.
        reuse: What to do about workflows of this id that have ended.
        start_delay: How long its first task waits; None for not at all.

    Raises:
        WorkflowAlreadyStartedError: A workflow of this id runs, or has ended and ``reuse`` forbids
            another one.
    """
    handle = await client.start_workflow(
        HOST_WORKFLOW,
        HostInput(setup, closed_rolls_over=True, marks_closed=True),
        id=workflow_id,
        task_queue=task_queue,
        task_timeout=HOST_TASK_TIMEOUT,
        id_reuse_policy=reuse,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        memo=_memo_of(setup),
        start_delay=start_delay,
    )
    return handle.result_run_id or ""
