"""A path means what a proxy in front takes it for, and an id is one that a workflow can have."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from temporalio.client import Client

from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.gateway.refusals import InvalidWorkflowIdError
from workflow_streams.gateway.refusals.problems import NoStreamError
from workflow_streams.gateway.requests.paths import Target, is_literal, parse_target
from workflow_streams.gateway.security.patterns import MAX_ID_BYTES, check_workflow_id

from ..http.serving import GatewayProcess
from .gated import JSON, bearer, problem
from .wire import exchange, get


def scope_of(raw: str, mount: str = "", path: str | None = None) -> dict[str, Any]:
    told = unquote(raw) if path is None else path
    return {"path": told, "raw_path": raw.encode(), "root_path": mount}


@pytest.mark.parametrize(
    "raw",
    [
        "/v1/stream%2Fpublic/v1/stream/secret",
        "/v1%2Fstream/public/v1/stream/secret",
        "/v1%2Fstream%2Fsecret",
        "/%761/stream/secret",
        "/v1/strea%6D/secret",
        "//v1/stream/secret",
        "/x/v1/stream/secret",
        "/v1//stream/secret",
        "/V1/stream/secret",
        "/v1/stream",
        "",
    ],
)
@pytest.mark.parametrize("mount", ["", "/gate", "/v1/stream/gate"])
def test_only_what_begins_with_the_streams_path_as_it_was_sent_is_one(raw: str, mount: str) -> None:
    with pytest.raises(NoStreamError):
        parse_target(scope_of(mount + raw, mount))


def test_what_stands_before_the_mount_point_may_be_written_in_any_way() -> None:
    for mount, raw in [
        ("/a b", "/a%20b"),
        ("/a/b", "/a%2Fb"),
        ("/é", "/%C3%A9"),
        ("/gate", "/gate"),
    ]:
        scope = scope_of(f"{raw}/v1/stream/x%2Fy", mount)
        assert parse_target(scope) == Target("x/y")
        assert is_literal(scope)
        # The id itself may look like anything.
        assert parse_target(scope_of(f"{raw}/v1/stream/v1/stream/x", mount)) == Target(
            "v1/stream/x"
        )
        assert is_literal(scope_of(f"{raw}/metrics", mount))
        assert not is_literal(scope_of(f"{raw}/%6Detrics", mount))
    # A server that takes the mount point away itself.
    assert parse_target(scope_of("/v1/stream/x", "/gate")) == Target("x")
    assert not is_literal(scope_of("/v1%2Fstream/x", "/gate"))


@pytest.fixture
async def secret(gateway: GatewayProcess, http: httpx.AsyncClient, stream: str) -> str:
    assert (await http.get(gateway.stream(stream), headers=bearer())).status_code == 200
    return stream


async def test_no_path_that_a_proxy_reads_otherwise_leads_to_a_stream(
    gateway: GatewayProcess, secret: str
) -> None:
    authorization = f"authorization: {bearer()['authorization']}"
    there = await exchange(gateway.port, get(f"/v1/stream/{secret}", authorization))
    assert there.status == 200
    for path in (
        f"/v1/stream%2Fpublic/v1/stream/{secret}",
        f"/v1%2Fstream%2F{secret}",
        f"/v1/strea%6d/{secret}",
        f"//v1/stream/{secret}",
        f"/v1//stream/{secret}",
        f"/V1/stream/{secret}",
        f"/v1/streams%2Fevents?id={secret}",
        "/%6Detrics",
        "/v1%2Fstreams",
        "/v1/strea%6Ds",
        "/openapi%2Ejson",
        "/viewer/%69ndex.html",
    ):
        answer = await exchange(gateway.port, get(path, authorization))
        assert (answer.status, answer.problem()["type"]) == (
            404,
            "urn:workflow-streams:stream-not-found",
        ), path
    for path in (
        f"/v1/stream/public/../{secret}",
        f"/v1/stream/public%2F..%2F{secret}",
        f"/v1/stream/public/%2e%2e/{secret}",
        f"/v1/stream/public%5C..%5C{secret}",
        f"/v1/stream/./{secret}",
    ):
        answer = await exchange(gateway.port, get(path, authorization))
        assert answer.problem()["type"] == "urn:workflow-streams:invalid-workflow-id", path
    # These are other ids, whatever a proxy makes of them.
    for path in (f"/v1/stream//{secret}", f"/v1/stream/public//{secret}"):
        answer = await exchange(gateway.port, get(path, authorization))
        assert answer.problem()["type"] == "urn:workflow-streams:stream-not-found", path


async def test_below_a_mount_point_it_is_the_same(client: Client) -> None:
    gateway = create_app(client, GatewaySettings(host_worker=False))
    app = Starlette(
        routes=[Mount("/gate", gateway)],
        lifespan=lambda _: gateway.router.lifespan_context(gateway),
    )
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        assert (await http.get("/gate/v1/streams")).status_code == 200
        assert (await http.get("/%67ate/v1/streams")).status_code == 200
        for path in ("/gate/v1%2Fstreams", "/gate/v1/stream%2Fa/v1/stream/b"):
            answer = await http.get(path)
            assert answer.json()["detail"] == "There is nothing at this path."


LONGEST = "😀" * (MAX_ID_BYTES // 4)


def test_an_id_is_as_long_as_temporal_takes_it_in_bytes() -> None:
    check_workflow_id(LONGEST)
    check_workflow_id("x" * MAX_ID_BYTES)
    for too_long in (LONGEST + "x", "x" * (MAX_ID_BYTES + 1), "é" * (MAX_ID_BYTES // 2 + 1)):
        with pytest.raises(InvalidWorkflowIdError, match="1,000 bytes"):
            check_workflow_id(too_long)


UNFIT = ["😀" * 600, "a\x00b", "a\rb", "a\x7fb", "a\x85b", "a\\..\\b", "a/../b"]


@pytest.mark.parametrize("workflow_id", [*UNFIT, "%FF", "a%C3", "%ED%A0%80"])
async def test_an_id_that_no_workflow_can_have_is_refused_wherever_it_stands(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str, workflow_id: str
) -> None:
    written = workflow_id if workflow_id.startswith(("%", "a%")) else quote(workflow_id, safe="")
    kind = "invalid-workflow-id"
    url = f"{gateway.url}/v1/stream/{written}"
    headers = bearer()
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        answer = await http.request(method, url, headers={**headers, **JSON}, content=b"1")
        assert answer.status_code == 400
    problem(await http.post(f"{url}/cancel", headers=headers), 400, kind)
    problem(await http.get(url, headers=headers, params={"live": "sse", "offset": "-1"}), 400, kind)
    events = f"{gateway.url}/v1/streams/events?id={stream}&id={written}"
    problem(await http.get(events, headers=headers), 400, kind)
    forking = {**headers, **JSON, "stream-forked-from": f"/v1/stream/{written}"}
    problem(await http.put(gateway.stream(f"{stream}-fork"), headers=forking), 400, kind)
    if workflow_id in UNFIT:
        wanted = {"workflow_id": workflow_id}
        problem(await http.post(f"{gateway.url}/v1/sign", headers=headers, json=wanted), 400, kind)


async def test_the_longest_id_is_served(gateway: GatewayProcess, http: httpx.AsyncClient) -> None:
    headers = {**bearer(), **JSON}
    url = gateway.stream(quote(LONGEST))
    assert (await http.put(url, headers=headers, content="[1]")).status_code in (200, 201)
    assert (await http.get(url, headers=headers)).json() == [1]
    signed = await http.post(
        f"{gateway.url}/v1/sign", headers=headers, json={"workflow_id": LONGEST}
    )
    # It stands in the URL as a path, and once more in what is signed.
    assert (await http.get(gateway.url + signed.json()["url"])).json() == [1]
    assert (await http.delete(url, headers=headers)).status_code == 204


async def test_only_urls_that_the_gateway_takes_are_signed(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    async def sign(count: int) -> httpx.Response:
        topics = [f"topic-{i:04}" for i in range(count)]
        wanted = {"workflow_id": stream, "topics": topics}
        return await http.post(f"{gateway.url}/v1/sign", headers=bearer(), json=wanted)

    least, most = 1, 1000  # that it signs, and that it does not
    while most - least > 1:
        middle = (least + most) // 2
        answer = await sign(middle)
        if answer.status_code == 200:
            least = middle
        else:
            told = problem(answer, 400, "invalid-request")
            assert "8,192 bytes" in told["detail"]
            most = middle
    signed = (await sign(least)).json()["url"]
    assert 8000 < len(signed) <= 8193
    assert (await http.get(gateway.url + signed)).json() == []
    half = await http.post(
        f"{gateway.url}/v1/sign",
        headers={**bearer(), **JSON},
        content=b'{"workflow_id": "%b", "topics": ["\\ud800"]}' % stream.encode(),
    )
    problem(half, 400, "invalid-request")
