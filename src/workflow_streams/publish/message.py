"""A batch that leaves the buffer, in the form that its host can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from temporalio.api.common.v1 import Payload

from ..log.batches import batch_payload
from ..log.compact import SIGNAL_BOUNDS, compact_payload
from ..log.wire import Batch, Entry


@dataclass(slots=True)
class Message:
    """A batch, to be sent under its sequence as often as need be.

    Attributes:
        entries: Its items.
        publisher_id: Whose it is.
        sequence: Its number among the publisher's.
        size: How much of a signal it takes up, in bytes; see :mod:`.batcher`.
    """

    entries: Sequence[Entry]
    publisher_id: str
    sequence: int
    size: int = 0
    _contrib: Payload | None = field(default=None, init=False, repr=False)
    _compact: Payload | None = field(default=None, init=False, repr=False)
    _longest: int = field(default=-1, init=False, repr=False)

    @property
    def longest(self) -> int:
        """How many bytes the topic and kind of an item take at most."""
        if self._longest < 0:
            topics, kinds = {t for t, _, _ in self.entries}, {k for _, k, _ in self.entries}
            topic = max((len(topic.encode(errors="surrogatepass")) for topic in topics), default=0)
            self._longest = topic + max(map(len, kinds), default=0)
        return self._longest

    @property
    def told_bytes(self) -> int:
        """What a message in the compact form has to have room for; see ``Bounds``."""
        return self.longest * len(self.entries)

    def payload(self, *, compact: bool) -> Payload:
        """Return it as the argument of a publish signal.

        Args:
            compact: Whether in the compact form, which only hosts of this package read; else in
                that of the contrib, which all hosts read.
        """
        if compact and self.told_bytes <= SIGNAL_BOUNDS.body_bytes:
            if self._compact is None:
                batch = Batch(self.entries, self.publisher_id, self.sequence)
                self._compact = compact_payload([batch])
            return self._compact
        if self._contrib is None:
            self._contrib = batch_payload(self.entries, self.publisher_id, self.sequence)
        return self._contrib
