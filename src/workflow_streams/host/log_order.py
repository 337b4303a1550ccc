"""In which order signals and the workflow's own writes come into its log.

In the history, what a workflow task writes stands after all signals that the task handles. So in
memory it is held until the history has moved on, or until something reads the log after all
handlers of the task have run. Runs in the workflow sandbox.
"""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from ..log.fold import Accepted, Malformed
from ..log.intake import Intake, Judged
from .first_task import FirstTask
from .log_copy import LogCopy
from .run_sign import RunSign
from .writing.own_writes import OwnWrites


class LogOrder:
    """Brings signals and own writes into the log, in the order of the history.

    Attributes:
        own: What the workflow itself has written and the log does not have yet.
        signals: How many publish signals this run has taken, whatever became of them.
        last_seen: When the last batch of each publisher was accepted.
    """

    def __init__(self, copy: LogCopy, last_seen: dict[str, datetime], sign: RunSign) -> None:
        """Bring them into ``copy``. To be made in ``@workflow.init``."""
        self.own = OwnWrites()
        self.signals = 0
        self.last_seen = last_seen
        self._copy = copy
        self._sign = sign
        self._intake = Intake(copy.fold)
        self._first = FirstTask(self._judge, sign.declared_handlers)
        self._opened_at = workflow.info().get_current_history_length()
        self._fragment_at = 0

    @property
    def head(self) -> int:
        """Offset of the next item, behind all that may be seen now."""
        self.settle()
        return self._copy.fold.head + self.own.count

    @property
    def base(self) -> int:
        """Lowest retained offset, after all that may be seen now."""
        self.settle()
        base = self.recorded_base
        if self._copy.fold.keep_last is not None and self.own.count:
            base = max(base, self._copy.fold.head + self.own.count - self._copy.fold.keep_last)
        return base

    @property
    def recorded_base(self) -> int:
        """The base as records name it: readers reckon by themselves how own items move a ring."""
        return max(self._copy.fold.base, self.own.base)

    @property
    def has_fragment(self) -> bool:
        """Whether a batch has come half-way."""
        return self._intake.waiting

    @property
    def events_since_fragment(self) -> int:
        """How many events have come since a fragment that left its batch incomplete."""
        return workflow.info().get_current_history_length() - self._fragment_at

    def take(self, message: Payload | None) -> None:
        """Take in a publish signal, by its argument. Call it from the handler of the signal."""
        if self._first.over or self._opened_at != workflow.info().get_current_history_length():
            self._first.end()
            self._sign.list_later()
            self.settle()
            self._judge(message)
        else:
            self._first.collect(message)

    def settle(self, *, now: bool = False) -> None:
        """Bring the log up to what may be seen; with ``now``, all handlers of the task have run."""
        self._first.release()
        length = workflow.info().get_current_history_length()
        self.own.settle(length, self._copy.apply, now=now)

    def end_first_task(self) -> None:
        """Bring in what the first task has brought: all its handlers have begun."""
        self._first.end()

    def _judge(self, message: Payload | None) -> None:
        self.signals += 1
        is_fragment = True
        for judged in self._intake.take(message):
            self._note(judged)
            is_fragment = False
        if is_fragment:
            self._fragment_at = workflow.info().get_current_history_length()

    def _note(self, judged: Judged) -> None:
        if isinstance(judged.verdict, Accepted):
            if judged.publisher_id:
                self.last_seen[judged.publisher_id] = workflow.now()
            self._copy.append(judged.entries)
        elif isinstance(judged.verdict, Malformed) and self._copy.fold.malformed == 1:
            workflow.logger.warning(
                "A publish signal is ignored, as its argument is no batch; more of this run are "
                "counted only (WorkflowStream.malformed)"
            )
