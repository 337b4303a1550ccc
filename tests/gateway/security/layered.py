"""A small application inside the gateway's layers, for tests of the layers alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from workflow_streams.gateway.layers.access import AccessMiddleware
from workflow_streams.gateway.layers.cors import CorsMiddleware
from workflow_streams.gateway.layers.faults import FaultMiddleware
from workflow_streams.gateway.layers.headers import SecurityHeaderMiddleware, as_page
from workflow_streams.gateway.layers.incoming import BodyRoom
from workflow_streams.gateway.layers.limit_settings import LimitSettings
from workflow_streams.gateway.layers.limits import ConnectionLimits, LimitMiddleware
from workflow_streams.gateway.metrics_endpoint import metrics_endpoint
from workflow_streams.gateway.security import Authority, SecuritySettings
from workflow_streams.gateway.telemetry.metrics import Metrics


class Layered:
    """The application, and what a test looks into."""

    def __init__(
        self,
        limits: LimitSettings | None = None,
        security: SecuritySettings | None = None,
    ) -> None:
        limits, security = limits or LimitSettings(), security or SecuritySettings()
        self.connections = ConnectionLimits(limits)
        self.room = BodyRoom(limits.max_total_body_bytes)
        self.metrics = Metrics(readers=lambda: 3)
        self.release = asyncio.Event()
        self.bodies: list[int] = []
        self.app = Starlette(
            routes=[
                Route("/items/{name}", self.item, methods=["GET", "POST", "PUT", "DELETE"]),
                Route("/wait/{name}", self.wait),
                Route("/stream", self.stream),
                Route("/fault", self.fault),
                Route("/half", self.half),
                Route("/html", self.html),
                Route("/healthz", self.item),
                Route("/metrics", metrics_endpoint),
                Mount("/pages", as_page(Starlette(routes=[Route("/", self.html)]))),
            ],
            middleware=[
                Middleware(AccessMiddleware, self.metrics),
                Middleware(SecurityHeaderMiddleware, frame_ancestors=security.frame_ancestors),
                Middleware(
                    CorsMiddleware,
                    origins=security.cors_origins,
                    credentials=security.cors_credentials,
                ),
                Middleware(FaultMiddleware),
                Middleware(LimitMiddleware, limits, self.connections, self.room),
            ],
        )
        self.app.state.authority = Authority(security)
        self.app.state.metrics = self.metrics

    async def item(self, request: Request) -> Response:
        self.bodies.append(len(await request.body()))
        return PlainTextResponse("an item")

    async def wait(self, request: Request) -> Response:
        await self.release.wait()
        return PlainTextResponse("waited")

    async def stream(self, request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await self.release.wait()
            yield b"second"

        return StreamingResponse(parts())

    async def fault(self, request: Request) -> Response:
        raise RuntimeError("the database at 10.0.0.1 says no")

    async def half(self, request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            raise RuntimeError("the database at 10.0.0.1 says no")

        return StreamingResponse(parts())

    async def html(self, request: Request) -> Response:
        return HTMLResponse("<script>alert(1)</script>")

    def value(self, name: str, **labels: Any) -> float:
        """A sample's value; 0 if there is none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0
