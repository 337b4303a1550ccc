"""Each request has an id, a line in the log and a count, and faults keep to themselves."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from workflow_streams.gateway.layers.access import request_id_from
from workflow_streams.gateway.security import Secret, SecuritySettings

from .issuing import SECRET, token
from .layered import Layered
from .wire import connected, exchange, get, serving


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(r) for r in caplog.records if r.name == "workflow_streams.gateway.access"]


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "workflow_streams.gateway")


async def test_a_request_id_is_kept_if_it_is_well_formed_and_made_if_not() -> None:
    layered = Layered()
    async with serving(layered.app) as port:
        sent = "A-1.2_3:4+5/6=7@8"
        answer = await exchange(port, get("/items/a", f"x-request-id: {sent}"))
        assert answer.header("x-request-id") == sent
        made = set()
        for odd in (
            "",
            "short",
            "x" * 129,
            "with space",
            "semi;colon",
            'quo"te',
            "é" * 9,
            "<b>" * 5,
        ):
            answer = await exchange(port, get("/items/a", f"x-request-id: {odd}"))
            made.add(answer.header("x-request-id"))
            assert odd not in made
        assert len(made) == 8
        twice = get("/items/a", f"x-request-id: {sent}", f"x-request-id: {sent}")
        assert (await exchange(port, twice)).header("x-request-id") != sent


@given(st.lists(st.binary(max_size=140), max_size=2))
def test_whatever_the_header_the_id_is_well_formed(values: list[bytes]) -> None:
    request_id = request_id_from({"headers": [(b"x-request-id", value) for value in values]})
    assert 8 <= len(request_id) <= 128
    assert request_id.isascii()
    assert request_id.isprintable()
    assert not set(request_id) & set(" \"'<>,;\\{}")


async def test_a_fault_is_a_500_without_a_word_of_what_happened(
    caplog: pytest.LogCaptureFixture,
) -> None:
    layered = Layered()
    async with serving(layered.app) as port:
        answer = await exchange(port, get("/fault", "x-request-id: request-1"))
        assert answer.status == 500
        assert answer.problem()["request_id"] == "request-1"
        assert b"10.0.0.1" not in answer.body
        assert b"RuntimeError" not in answer.body
        # The connection and the gateway go on.
        assert (await exchange(port, get("/items/a"))).status == 200
    [error] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert error.exc_info is not None
    assert "10.0.0.1" in str(error.exc_info[1])
    assert vars(error)["request_id"] == "request-1"


async def test_an_answer_that_breaks_off_does_not_look_complete(
    caplog: pytest.LogCaptureFixture,
) -> None:
    layered = Layered()
    async with serving(layered.app, http="h11") as port, connected(port) as (reader, writer):
        writer.write(get("/half"))
        raw = await reader.read()
    assert raw.endswith(b"5\r\nfirst\r\n")  # and no chunk of length zero
    [line] = lines(caplog)
    assert (line["status"], line["complete"], line["bytes"]) == (200, False, 5)


async def test_each_request_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    security = SecuritySettings(jwt_secret=Secret(SECRET))
    layered = Layered(security=security)
    bearer = token(streams=[{"actions": ["metrics"]}])
    async with serving(layered.app) as port:
        await exchange(port, get("/items/order-1?offset=-1&access=abc.def.ghi&token=s3cret"))
        await exchange(port, get("/metrics", f"authorization: Bearer {bearer}"))
        await exchange(port, get("/metrics"))
        await exchange(port, get("/nothing/at/all"))
        await exchange(port, get("/items/" + "x" * 9000))
        await exchange(port, get("/items/a", method="PATCH"))
    told = [
        (line["method"], line["route"], line["status"], line["query"], line["subject"])
        for line in lines(caplog)
    ]
    assert told == [
        ("GET", "/items/{name}", 200, "offset=-1&access=***&token=***", ""),
        ("GET", "/metrics", 200, "", "ann"),
        ("GET", "/metrics", 401, "", ""),
        ("GET", "unrouted", 404, "", ""),
        ("GET", "unrouted", 414, "", ""),
        ("PATCH", "/items/{name}", 405, "", ""),
    ]
    line = lines(caplog)[0]
    assert (line["client"], line["complete"], line["bytes"]) == ("127.0.0.1", True, 7)
    assert line["seconds"] >= 0
    assert len(line["request_id"]) == 32
    assert bearer not in caplog.text + str([vars(r) for r in caplog.records])
    assert "s3cret" not in caplog.text + str([vars(r) for r in caplog.records])


async def test_a_client_that_leaves_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    layered = Layered()
    async with serving(layered.app) as port, connected(port) as (_, writer):
        writer.write(get("/items/a", method="PUT", body=b"x" * 100)[:-50])
        while not layered.connections.open:
            await asyncio.sleep(0.005)
        writer.close()
        while layered.connections.open:
            await asyncio.sleep(0.005)
    assert [r.levelname for r in caplog.records if r.levelno > logging.INFO] == []
    [line] = lines(caplog)
    assert (line["status"], line["refused"]) == (0, "client-left")


async def test_requests_are_counted_by_route_not_by_path() -> None:
    layered = Layered(security=SecuritySettings(allow_anonymous=True))
    async with serving(layered.app, http="h11") as port:  # which lets odd methods through
        for name in ("a", "b", "c%2Fd"):
            await exchange(port, get(f"/items/{name}"))
        await exchange(port, get("/nothing"))
        await exchange(port, get("/items/a", method="BREW"))
        body = (await exchange(port, get("/metrics"))).body.decode()
    counted = {
        line
        for line in body.splitlines()
        if line.startswith("workflow_streams_http_requests_total")
    }
    name = "workflow_streams_http_requests_total"
    assert counted == {
        name + '{method="GET",route="/items/{name}",status="200"} 2.0',
        name + '{method="GET",route="unrouted",status="404"} 2.0',
        name + '{method="other",route="/items/{name}",status="405"} 1.0',
    }


async def test_a_mounted_applications_requests_are_counted_by_its_own_routes() -> None:
    layered = Layered(security=SecuritySettings(allow_anonymous=True))
    outside = Starlette(routes=[Mount("/mounted/{tenant}", layered.app)])
    async with serving(outside) as port:
        await exchange(port, get("/mounted/t1/items/a"))
        await exchange(port, get("/mounted/t1/items/" + "x" * 9000))
    name = "workflow_streams_http_requests_total"
    assert layered.value(name, method="GET", route="/items/{name}", status="200") == 1
    assert layered.value(name, method="GET", route="unrouted", status="414") == 1
