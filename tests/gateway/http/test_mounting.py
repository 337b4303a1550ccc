"""The gateway as part of another application."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from temporalio.client import Client

from workflow_streams.gateway import GatewaySettings, create_app


async def hello(_request: Request) -> Response:
    return PlainTextResponse("hello")


def in_starlette(gateway: Starlette) -> Starlette:
    return Starlette(
        routes=[Route("/", hello), Mount("/gate", gateway)],
        lifespan=lambda _: gateway.router.lifespan_context(gateway),
    )


def in_fastapi(gateway: Starlette) -> Starlette:
    app = FastAPI(lifespan=lambda _: gateway.router.lifespan_context(gateway))
    app.get("/", response_class=PlainTextResponse)(lambda: "hello")
    app.mount("/gate", gateway)
    return app


@pytest.mark.parametrize("mounted", [in_starlette, in_fastapi])
async def test_mounted_it_serves_streams_below_its_prefix_and_leaves_the_rest_alone(
    client: Client, unique: Callable[[str], str], mounted: Callable[[Starlette], Starlette]
) -> None:
    gateway = create_app(client, GatewaySettings(host_task_queue=unique("queue")))
    app = mounted(gateway)
    name = unique("stream")
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        assert (await http.get("/")).text == "hello"
        made = await http.put(f"/gate/v1/stream/{name}%2Fx", json=[1])
        assert made.status_code == 201
        assert made.headers["location"] == f"http://127.0.0.1/gate/v1/stream/{name}%2Fx"
        assert (await http.get(made.headers["location"])).json() == [1]
        assert (await http.post(f"/gate/v1/stream/{name}/x", json=[2])).status_code == 204
        assert (await http.get(f"/gate/v1/stream/{name}/x")).json() == [1, 2]
        assert (await http.get("/gate/readyz")).json() == {"status": "ready"}
        assert (await http.delete(f"/gate/v1/stream/{name}/x")).status_code == 204
        assert (await http.get(f"/v1/stream/{name}/x")).status_code == 404


async def test_no_task_of_it_is_left_when_the_application_ends(
    client: Client, unique: Callable[[str], str]
) -> None:
    """The fixture that every asynchronous test is under looks for tasks that are left."""
    for worker in (True, False):
        settings = GatewaySettings(host_task_queue=unique("queue"), host_worker=worker)
        gateway = create_app(client, settings)
        async with gateway.router.lifespan_context(gateway):
            transport = httpx.ASGITransport(gateway, client=("127.0.0.1", 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                assert (await http.get("/readyz")).status_code == 200
