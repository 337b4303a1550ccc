"""One batch on its way: tried again under its sequence until the server takes it."""

from __future__ import annotations

import asyncio
import logging

from ..errors import (
    PublishError,
    PublishTimeoutError,
    RunFullError,
    ServerUnavailableError,
    StreamUnfinishedError,
)
from ..temporal.backoff import Backoff
from ..temporal.rpc import explain, is_transient
from .batcher import Outgoing
from .message import Message
from .sink import Sink

logger = logging.getLogger("workflow_streams")

_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 5.0


class Delivery:
    """A batch that has left the buffer and has not been acknowledged.

    Attributes:
        batch: The batch.
        delay: Seconds to wait before the next attempt.
        unanswered: Whether an attempt may have got through without an answer.
    """

    def __init__(
        self,
        batch: Outgoing,
        *,
        sink: Sink,
        workflow_id: str,
        publisher_id: str,
        patience: float,
    ) -> None:
        """Prepare.

        Args:
            batch: The batch.
            sink: Where it goes.
            workflow_id: Which workflow that is, for messages.
            publisher_id: Whose it is.
            patience: Seconds from the first attempt after which it is given up. An attempt that
                still runs then is ended, with whatever the SDK retries within it.
        """
        self.batch = batch
        self.delay = 0.0
        self.unanswered = False
        self._sink = sink
        self._message = Message(batch.entries, publisher_id, batch.sequence, batch.size)
        self._workflow_id = workflow_id
        self._patience = patience
        self._give_up_at: float | None = None
        self._backoff = Backoff(_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS)
        self._reason: Exception | None = None

    async def attempt(self) -> bool:
        """Send the batch once; return whether it was taken.

        If it was not, another attempt is due after ``delay`` seconds.

        Raises:
            Undeliverable: It is given up.
        """
        now = asyncio.get_running_loop().time()
        if self._give_up_at is None:
            self._give_up_at = now + self._patience
        elif now >= self._give_up_at:
            raise self._timed_out()
        limit = asyncio.timeout_at(self._give_up_at)
        try:
            async with limit:
                await self._sink.deliver(self._message)
        except asyncio.CancelledError:
            self.unanswered = True
            raise
        except Exception as err:
            if limit.expired():
                self.unanswered = True
                raise self._timed_out() from err
            self._failed(err)
            return False
        return True

    def _failed(self, err: Exception) -> None:
        # A codec that cannot reach its key service raises the built-in errors.
        if isinstance(err, RunFullError | StreamUnfinishedError):
            pass  # nothing was sent; it will be once the workflow has rolled over, or has been made
        elif is_transient(err) or isinstance(err, ConnectionError | TimeoutError):
            self.unanswered = True
        else:
            raise Undeliverable(explain(err, self._workflow_id), timed_out=False) from err
        first, self._reason = self._reason is None, explain(err, self._workflow_id)
        self.delay = self._backoff.next()
        assert self._give_up_at is not None
        if asyncio.get_running_loop().time() + self.delay >= self._give_up_at:
            raise self._timed_out() from err
        logger.log(
            logging.WARNING if first else logging.INFO,
            "Publishing to workflow %r is retried: %s",
            self._workflow_id,
            err,
        )

    def _timed_out(self) -> Undeliverable:
        reason = self._reason or ServerUnavailableError(
            f"The Temporal server has not answered within {self._patience:g} s"
        )
        return Undeliverable(reason, timed_out=True)


class Undeliverable(Exception):
    """A batch is given up; ``reason`` says why."""

    def __init__(self, reason: Exception, *, timed_out: bool) -> None:
        """Record the reason, and whether it is given up only because its time is over."""
        super().__init__(str(reason))
        self.reason = reason
        self.kind = PublishTimeoutError if timed_out else PublishError


class Cancelled(asyncio.CancelledError):
    """The reason that is reported when sending was cancelled; it is never raised."""

    def __init__(self, why: object = "publishing was cancelled") -> None:
        """Record why."""
        super().__init__(why)
