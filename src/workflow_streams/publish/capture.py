"""Takes what an activity under test publishes, in place of a workflow."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from temporalio.converter import DataConverter

from ..errors import FencedError, UsageError
from ..events import Rewind
from ..log.fold import Accepted, Verdict, note_verdict
from ..log.wire import Entry
from ..read.memory import MemoryStream
from .message import Message

_current: ContextVar[Capture | None] = ContextVar("workflow_streams_capture", default=None)


class Capture:
    """Takes in batches as a workflow would, and stands in for the activity's client.

    Attributes:
        data_converter: Converter that values are encoded with.
        namespace: That of the SDK's ActivityEnvironment.
        stream: What has been published.
    """

    @dataclass(frozen=True)
    class Handle:
        """Stands in for the workflow handle, of which only the id is used."""

        id: str
        run_id: str | None = None

    def __init__(self, data_converter: DataConverter) -> None:
        """Begin empty."""
        self.data_converter = data_converter
        self.namespace = "default"
        self.stream = MemoryStream("captured")
        self._verdicts: dict[tuple[str, int], Verdict] = {}

    @property
    def head(self) -> int:
        """Offset that the next item gets."""
        return self.stream.moments[-1].head

    @property
    def taken(self) -> Iterator[tuple[int, Entry] | Rewind]:
        """What readers would see: entries with their offsets, and rewinds."""
        for moment in self.stream.moments:
            if moment.rewind is not None:
                yield moment.rewind
            if moment.chunk is not None:
                yield from enumerate(moment.chunk.entries, moment.chunk.offset)

    def get_workflow_handle(self, workflow_id: str) -> Handle:
        """Return a stand-in for the handle of the workflow that runs the activity."""
        try:
            asyncio.get_running_loop()
        except RuntimeError as err:
            raise UsageError(
                "Only `async def` activities have a client, and so a stream to publish to"
            ) from err
        return self.Handle(workflow_id)

    @property
    def reads_compact(self) -> bool:
        """Whether it reads the compact form."""
        return True

    def next_turn(self, interval: float) -> float:  # noqa: ARG002
        """Return that it may be taken at any time."""
        return -math.inf

    def take_turn(self) -> None:
        """Note nothing."""

    async def deliver(self, batch: Message) -> None:
        """Take the argument of one publish signal."""
        before = len(self.stream.moments)
        await self.stream.deliver(batch.payload(compact=True))
        for moment in self.stream.moments[before:]:
            if (judged := moment.judged) is not None:
                key = judged.publisher_id, judged.sequence
                note_verdict(self._verdicts, key, judged.verdict)

    async def last_landed(self, publisher_id: str, sequence: int) -> int | None:  # noqa: ARG002
        """Return ``sequence``: what is captured cannot be closed."""
        return sequence

    def offset_of(self, publisher_id: str, sequence: int, index: int, workflow_id: str) -> int:
        """Return the offset of item ``index`` of a batch.

        Raises:
            FencedError: A newer attempt of the activity has published.
        """
        verdict = self._verdicts[publisher_id, sequence]
        if isinstance(verdict, Accepted):
            return verdict.offset + index
        raise FencedError(workflow_id, "a newer attempt of this activity publishes; item dropped")


def current_capture() -> Capture | None:
    """Return the capture in force here, if any."""
    return _current.get()


@contextmanager
def capturing(data_converter: DataConverter) -> Iterator[Capture]:
    """Let activities called inside publish into the yielded capture."""
    capture = Capture(data_converter)
    token = _current.set(capture)
    try:
        yield capture
    finally:
        _current.reset(token)
