"""Whether a hosted stream has been deleted or has expired, as its workflow's memo says."""

from __future__ import annotations

from datetime import datetime, timezone

from temporalio.client import WorkflowExecution

from ...errors import StreamGoneError
from ...log.wire import DELETED_MEMO_KEY, EXPIRED_MEMO_KEY, EXPIRES_MEMO_KEY
from ...temporal.codec import memo_value


async def check_not_gone(described: WorkflowExecution) -> None:
    """Check that a stream is still there, if it is a hosted one.

    Raises:
        StreamGoneError: It has been deleted or has expired.
        CodecError: Its memo is encoded, and the client cannot decode it.
    """
    if await is_gone(described):
        raise StreamGoneError(described.id)
    if await memo_value(described, DELETED_MEMO_KEY, bool):
        raise StreamGoneError(described.id, has_forks=True)


async def is_gone(described: WorkflowExecution) -> bool:
    """Whether a stream has been deleted or has expired, so that nothing is kept of it.

    Raises:
        CodecError: Its memo is encoded, and the client cannot decode it.
    """
    if await memo_value(described, EXPIRED_MEMO_KEY, bool):
        return True
    # Its worker may not have come to end it yet.
    expires_at = await memo_value(described, EXPIRES_MEMO_KEY, str)
    return expires_at is not None and (
        datetime.fromisoformat(expires_at) <= datetime.now(timezone.utc)
    )
