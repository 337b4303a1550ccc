"""A batch that leaves the buffer, in the form that its host can read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from temporalio.api.common.v1 import Payload

from ..log.batches import batch_payload
from ..log.compact import compact_payload
from ..log.wire import Batch


@dataclass(slots=True)
class Message:
    """A batch, to be sent under its sequence as often as need be.

    Attributes:
        entries: Its items, each as JSON text.
        publisher_id: Whose it is.
        sequence: Its number among the publisher's.
    """

    entries: list[str]
    publisher_id: str
    sequence: int
    _contrib: Payload | None = field(default=None, init=False, repr=False)
    _compact: Payload | None = field(default=None, init=False, repr=False)

    def payload(self, *, compact: bool) -> Payload:
        """Return it as the argument of a publish signal.

        Args:
            compact: Whether in the compact form, which only hosts of this package read; else in
                that of the contrib, which all hosts read.
        """
        if compact and self._compact is None:
            self._compact = self._in_columns()
        if compact and self._compact is not None:
            return self._compact
        if self._contrib is None:
            self._contrib = batch_payload(self.entries, self.publisher_id, self.sequence)
        return self._contrib

    def _in_columns(self) -> Payload | None:
        """Return the compact form; None if it cannot hold the batch."""
        items = json.loads(f"[{','.join(self.entries)}]")
        entries = [(item["topic"], item["data"]) for item in items]
        try:
            return compact_payload([Batch(entries, self.publisher_id, self.sequence)])
        except ValueError:
            return None  # a topic holds half a character, which only JSON can write
