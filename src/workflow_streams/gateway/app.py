"""The ASGI application: its routes, the layers around them, and its state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from temporalio.client import Client

from ..errors import WorkflowStreamError
from ..read.history.waiting_budget import limit_waiting_calls
from . import reads
from .following import several
from .layers.access import AccessMiddleware
from .layers.cors import CorsMiddleware
from .layers.faults import FaultMiddleware
from .layers.headers import SecurityHeaderMiddleware
from .layers.limits import ConnectionLimits, LimitMiddleware
from .layers.outgoing import AnswerMiddleware
from .layers.rates import RateMiddleware, rates_of
from .listing import streams
from .metrics_endpoint import metrics_endpoint
from .openapi.description import openapi
from .refusals.problems import InvalidRequestError, NoStreamError, NotOfferedError, answer, on_error
from .requests.paths import parse_target
from .security import Authority
from .security.signing import sign_endpoint
from .sessions import Gateway
from .settings import GatewaySettings
from .telemetry.health import healthz, readyz
from .telemetry.logs import mask_server_logs
from .telemetry.metrics import Metrics
from .telemetry.rpc_metrics import metered
from .temporal.link import Connect, TemporalLink
from .viewer import ViewerPage
from .writing import deleting, making, writes

_STREAM_METHODS = {
    "GET": reads.read,
    "HEAD": reads.head,
    "POST": writes.post,
    "PUT": making.put,
    "DELETE": deleting.delete,
}


def create_app(client: Client | Connect, settings: GatewaySettings | None = None) -> Starlette:
    """Return the gateway as an ASGI application, to be served or to be mounted.

    If it is mounted into another application, that one has to run its lifespan::

        gateway = create_app(connect)
        app = FastAPI(lifespan=lambda _: gateway.router.lifespan_context(gateway))
        app.mount("/streams", gateway)

    Args:
        client: A Temporal client, or a function that connects one. With a function, the
            gateway starts at once, and is ready as soon as it is connected.
        settings: See :class:`GatewaySettings`; its defaults if None.
    """
    settings = settings or GatewaySettings()
    waiting_calls = settings.max_waiting_calls
    metrics = Metrics(readers=lambda: gateway.readers())

    def prepared(given: Client) -> Client:
        limit_waiting_calls(given, waiting_calls)
        return metered(given, metrics)

    link = TemporalLink(
        client,
        task_queue=settings.host_task_queue if settings.host_worker else None,
        call_seconds=settings.temporal_seconds,
        prepare=prepared,
    )
    gateway = Gateway(link, settings, metrics)
    security = settings.security
    connections = ConnectionLimits(settings.limits)
    mask_server_logs()
    app = Starlette(
        routes=[
            Route("/v1/stream/{path:path}", stream_endpoint, methods=list(_STREAM_METHODS)),
            Route("/v1/streams", streams),
            Route("/v1/streams/events", several.events, methods=["GET"]),
            Route("/v1/sign", sign_endpoint, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics_endpoint),
            Route("/openapi.json", openapi),
            *ViewerPage().routes(),
        ],
        middleware=[
            Middleware(AccessMiddleware, metrics),
            Middleware(SecurityHeaderMiddleware, frame_ancestors=security.frame_ancestors),
            Middleware(
                CorsMiddleware,
                origins=security.cors_origins,
                credentials=security.cors_credentials,
            ),
            Middleware(FaultMiddleware),
            Middleware(RateMiddleware, rates_of(settings.limits)),
            Middleware(LimitMiddleware, settings.limits, connections),
            Middleware(AnswerMiddleware, settings.write_seconds, gateway.unread),
        ],
        exception_handlers={
            WorkflowStreamError: on_error,
            HTTPException: _on_http_exception,
        },
        lifespan=_lifespan,
    )
    app.state.gateway = gateway
    app.state.authority = Authority(security)
    app.state.connections = connections
    app.state.metrics = metrics
    return app


async def stream_endpoint(request: Request) -> Response:
    """Pass a request for a stream to the handler for its method and path."""
    target = parse_target(request.scope)
    if target.reserved:
        raise NoStreamError("Paths below __ds are reserved, and nothing is offered there.")
    if not target.cancel:
        return await _STREAM_METHODS[request.method](request, target.workflow_id)
    if request.method != "POST":
        raise NotOfferedError("Only POST cancels.", allowed="POST")
    return await writes.cancel(request, target.workflow_id)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return answer(NoStreamError("There is nothing at this path."), request)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return answer(NotOfferedError("Not with this method.", allowed=allowed), request)
    return answer(InvalidRequestError("The request is not valid."), request)


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    gateway: Gateway = app.state.gateway
    async with gateway.running():
        yield
