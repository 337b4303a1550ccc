"""The last resort: answers errors that nothing else has answered."""

from __future__ import annotations

import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from ..refusals import RefusedError
from ..refusals.problems import InternalError
from ..refusals.responses import Sending, refuse

logger = logging.getLogger("workflow_streams.gateway")


class FaultMiddleware:
    """Answers an error with 500. The error's words go to the log only, not to the client.

    Unlike Starlette's own last resort, this is inside the layers that add headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap ``app``."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sending = Sending(send)
        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            # The client left in the middle of its body, so there is nobody to answer.
            scope.setdefault("state", {})["refused"] = "client-left"
        except Exception as err:
            if not isinstance(err, RefusedError):
                extra = {"request_id": scope.get("state", {}).get("request_id", "")}
                logger.exception("A request failed", extra=extra)
            if sending.started:
                raise  # the server cuts the connection, so that the client sees a broken answer
            await refuse(err if isinstance(err, RefusedError) else InternalError(), scope, send)
