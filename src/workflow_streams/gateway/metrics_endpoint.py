"""``GET /metrics``, for those who may see it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from .security import authorize
from .telemetry.metrics import Metrics


async def metrics_endpoint(request: Request) -> Response:
    """Serve the metrics to those who may see them (action ``metrics``)."""
    await authorize(request, "metrics")
    metrics: Metrics = request.app.state.metrics
    body, content_type = metrics.render(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})
