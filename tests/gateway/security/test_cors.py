"""Which pages of other origins may ask what, and read what of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from workflow_streams.gateway.layers import cors
from workflow_streams.gateway.openapi.description import description
from workflow_streams.gateway.refusals import RefusedError

from .test_headers import APP, ask
from .wire import get

STREAM_HEADERS = ["stream-forked-from", "stream-fork-offset", "stream-fork-sub-offset"]
# What tracing tools and HTTP clients add by themselves.
ADDED = [
    "traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "sentry-trace",
    "x-datadog-trace-id", "newrelic", "elastic-apm-traceparent",
    "cache-control", "pragma", "if-modified-since", "x-requested-with", "range",
]  # fmt: skip


def names(text: str | None) -> set[str]:
    return {name.strip().lower() for name in (text or "").split(",") if name.strip()}


async def allowed(asked: str, *, origin: str = APP, **security: Any) -> set[str]:
    """The header fields that a page of an origin may send; none if it may not ask at all."""
    settings: dict[str, Any] = {"cors_origins": (APP,), **security}
    lines = [f"origin: {origin}", "access-control-request-method: PUT"]
    if asked:
        lines.append(f"access-control-request-headers: {asked}")
    answer = await ask(get("/items/a", *lines, method="OPTIONS"), **settings)
    assert answer.status == 204
    assert "access-control-request-headers" in names(answer.header("vary"))
    if answer.header("access-control-allow-origin") is None:
        return set()
    return names(answer.header("access-control-allow-headers"))


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def request_headers() -> set[str]:
    """All header fields that the gateway's description has for requests."""
    found = {o["name"].lower() for o in objects(description()) if o.get("in") == "header"}
    assert found >= {"producer-id", *STREAM_HEADERS}
    return found


def response_headers() -> set[str]:
    """All header fields that the description and the refusals have for answers."""
    answers = [o["headers"] for o in objects(description()) if "headers" in o]
    found = {name.lower() for headers in answers for name in headers}
    assert found >= {"stream-next-offset", "stream-base-offset", "location"}
    refusals = {name for kind in kinds(RefusedError) for name, _ in kind.headers}
    assert refusals >= {"retry-after", "www-authenticate"}
    told = {"allow", "producer-expected-seq", "producer-received-seq", "stream-base-offset"}
    return (found | refusals | told) - {"connection"}


def kinds(kind: type[RefusedError]) -> Iterator[type[RefusedError]]:
    yield kind
    for special in kind.__subclasses__():
        yield from kinds(special)


async def test_all_header_fields_of_the_protocol_may_be_sent_without_being_asked_for() -> None:
    assert await allowed("") >= request_headers() | set(STREAM_HEADERS)


async def test_all_header_fields_of_answers_may_be_read() -> None:
    answer = await ask(get("/items/a", f"origin: {APP}"), cors_origins=(APP,))
    assert names(answer.header("access-control-expose-headers")) >= response_headers()


@pytest.mark.parametrize("origins", [(APP,), ("*",)])
async def test_what_tools_add_is_allowed_when_it_is_asked_for(origins: tuple[str, ...]) -> None:
    asked = ",".join(sorted(ADDED))
    usual = await allowed("", cors_origins=origins)
    assert await allowed(asked, cors_origins=origins) == usual | set(ADDED)
    assert await allowed(asked.upper().replace(",", " , "), cors_origins=origins) == usual | set(
        ADDED
    )


async def test_a_page_that_is_not_listed_is_allowed_nothing_that_it_asks_for() -> None:
    lines = ["access-control-request-method: PUT", "access-control-request-headers: x-own"]
    answer = await ask(
        get("/items/a", "origin: https://evil.example", *lines, method="OPTIONS"),
        cors_origins=(APP,),
    )
    assert answer.header("access-control-allow-origin") is None
    assert "x-own" not in names(answer.header("access-control-allow-headers"))


@pytest.mark.parametrize("origins", [(APP,), ("*",)])
@pytest.mark.parametrize("name", ["x-forwarded-for", "Forwarded", "x-real-ip", "via", "cf-ray"])
async def test_no_page_may_say_where_it_comes_from(name: str, origins: tuple[str, ...]) -> None:
    """Else it would, to a gateway or a check that takes a proxy's word for it."""
    found = await allowed(f"x-own,{name}", cors_origins=origins)
    assert name.lower() not in found
    assert "x-own" in found


@pytest.mark.parametrize(
    "asked",
    ["x y", "x:y", "x\ty", '"x"', "x;y", "<x>", "*", "é", ",,,", "x" * 200],
)
async def test_what_is_no_name_of_a_header_field_is_not_repeated(asked: str) -> None:
    assert await allowed(f"x-own, {asked}") == await allowed("x-own")


async def test_an_answer_to_a_long_list_is_bounded() -> None:
    many = ",".join(f"x-{number}" for number in range(1000))
    found = await allowed(many)
    assert len(found) <= len(await allowed("")) + cors.MOST_ASKED_FOR


async def test_a_star_lets_no_cookies_come_along_whatever_is_asked_for() -> None:
    lines = ["access-control-request-method: PUT", "access-control-request-headers: cookie"]
    answer = await ask(
        get("/items/a", "origin: https://any.example", *lines, method="OPTIONS"),
        cors_origins=("*",),
    )
    assert answer.header("access-control-allow-origin") == "*"
    assert answer.header("access-control-allow-credentials") is None
