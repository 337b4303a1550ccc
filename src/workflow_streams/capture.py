"""Where an activity under test publishes to instead of a workflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload

from .fold import Accepted, Fold
from .intake import Intake
from .wire import Entry

_current: ContextVar[Capture | None] = ContextVar("workflow_streams_capture", default=None)


class Capture:
    """Takes batches in as a workflow would and keeps the entries, by offset."""

    @dataclass(frozen=True)
    class Handle:
        """Stands for the workflow handle, of which only the id is used."""

        id: str
        run_id: str | None = None

    def __init__(self) -> None:
        """Begin empty."""
        self.entries: list[Entry] = []
        self._intake = Intake(Fold())

    async def take(self, payload: Payload) -> None:
        """Deliver one publish signal's argument."""
        judged = self._intake.take(payload)
        if judged is not None and isinstance(judged.verdict, Accepted):
            self.entries += judged.entries


def current_capture() -> Capture | None:
    """Return the capture in force here, if any."""
    return _current.get()


@contextmanager
def capturing() -> Iterator[Capture]:
    """Let activities called inside publish into the yielded capture."""
    capture = Capture()
    token = _current.set(capture)
    try:
        yield capture
    finally:
        _current.reset(token)
