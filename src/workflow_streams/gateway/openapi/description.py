"""The description of the HTTP interface (OpenAPI 3.1), as ``GET /openapi.json`` serves it."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from . import operations
from .parts import ITEM, PROBLEM, STREAM, Json, path_id


async def openapi(_request: Request) -> Response:
    """Serve the description."""
    return JSONResponse(description(), headers={"cache-control": "no-cache"})


@cache
def description() -> Json:
    """Return the description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "workflow_streams gateway",
            "version": version("workflow-streams"),
            "description": (
                "Streams of Temporal workflows by the Durable Streams protocol. A workflow id "
                "may contain `/`."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            "/v1/stream/{workflow_id}": {
                "parameters": [path_id()],
                "get": operations.read(),
                "head": operations.head(),
                "post": operations.append(),
                "put": operations.make(),
                "delete": operations.delete(),
            },
            "/v1/stream/{workflow_id}/cancel": {
                "parameters": [path_id()],
                "post": operations.cancel(),
            },
            "/v1/streams": {"get": operations.list_streams()},
            "/v1/streams/events": {"get": operations.several()},
            "/v1/sign": {"post": operations.sign()},
            "/healthz": {"get": operations.plain("Whether the process answers.", "200")},
            "/readyz": {"get": operations.plain("Whether Temporal can be used.", "200", "503")},
            "/metrics": {"get": operations.metrics()},
            "/openapi.json": {"get": operations.plain("This description.", "200")},
        },
        "components": {
            "schemas": {"Problem": PROBLEM, "Item": ITEM, "Stream": STREAM},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"bearer": []}],
    }
