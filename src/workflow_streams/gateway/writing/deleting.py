"""DELETE: streams that were made by PUT (Durable Streams 5.4)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ...errors import StreamNotHostedError
from ...hosted import deleting
from ..refusals.problems import NotOfferedError
from ..security import authorize
from ..sessions import gateway_of


async def delete(request: Request, workflow_id: str) -> Response:
    """Delete a stream that was made by PUT."""
    await authorize(request, "write", workflow_id)
    async with gateway_of(request).found(workflow_id) as stream:
        try:
            await deleting.delete(stream)
        except StreamNotHostedError:
            detail = (
                "This stream belongs to a workflow, and ends with it; it cannot be deleted here."
            )
            raise NotOfferedError(detail) from None
    return Response(status_code=204, headers={"cache-control": "no-store"})
