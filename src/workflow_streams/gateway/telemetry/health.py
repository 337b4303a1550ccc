"""GET /healthz and /readyz: whether the process is alive, and whether it can serve requests."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..sessions import gateway_of

_NO_STORE = {"cache-control": "no-store"}


async def healthz(_request: Request) -> Response:
    """Answer that the process is alive."""
    return JSONResponse({"status": "ok"}, headers=_NO_STORE)


async def readyz(request: Request) -> Response:
    """Answer whether Temporal can be reached and the gateway is not about to end."""
    gateway = gateway_of(request)
    ready = not gateway.is_leaving and await gateway.readiness.is_ready()
    return JSONResponse(
        {"status": "ready" if ready else "unavailable"},
        status_code=200 if ready else 503,
        headers=_NO_STORE,
    )
