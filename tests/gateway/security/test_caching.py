"""What one user was answered is kept by no cache that serves others, whatever the login is."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from workflow_streams.gateway import GatewaySettings, SecuritySettings, create_app
from workflow_streams.gateway.refusals import AuthenticationRequiredError
from workflow_streams.gateway.security import Access, Grant, Secret, sign_url

from .asking import authority, request
from .gated import JSON, SECRET, URL_KEY, bearer
from .wire import serving

Unique = Callable[[str], str]
KEY = Secret(URL_KEY)
TOKENS: dict[str, Any] = {"jwt_secret": Secret(SECRET), "url_signing_keys": (KEY,)}


async def by_cookie(access: Access) -> Grant | None:
    if access.request.cookies.get("user") != "ann":
        raise AuthenticationRequiredError("Log in first.")
    return access.grant


async def by_a_grant_of_its_own(access: Access) -> Grant | None:
    await by_cookie(access)
    return Grant(topics=None, expires_at=None, rules=access.grant.rules)


async def for_a_while(access: Access) -> Grant | None:
    await by_cookie(access)
    return access.grant.narrowed(expires_at=time.time() + 60)


async def by_both(access: Access) -> Grant | None:
    return access.grant if access.grant.subject == "ann" else None


COOKIE = {"cookie": "user=ann"}
# The headers are made when they are used, since tokens expire.
LOGINS: dict[str, tuple[dict[str, Any], Callable[[], dict[str, str]]]] = {
    "tokens": (TOKENS, bearer),
    "a check": ({"check": by_cookie}, lambda: COOKIE),
    "a check that makes its own grant": ({"check": by_a_grant_of_its_own}, lambda: COOKIE),
    "a check that ends": ({"check": for_a_while}, lambda: COOKIE),
    "tokens and a check": ({**TOKENS, "check": by_both}, bearer),
}


@asynccontextmanager
async def gateway_with(client: Client, **security: Any) -> AsyncIterator[httpx.AsyncClient]:
    settings = GatewaySettings(security=SecuritySettings(**security), long_poll_seconds=0.2)
    app = create_app(client, settings)
    async with (
        serving(app, lifespan="on") as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=100) as http,
    ):
        yield http


async def answers_of(
    http: httpx.AsyncClient, name: str, headers: dict[str, str]
) -> dict[str, httpx.Response]:
    """Every kind of answer there is to who may read a stream, by what was asked."""
    url = f"/v1/stream/{name}"
    made = await http.put(url, headers={**headers, **JSON}, content="[1]")
    assert made.status_code == 201, made.text
    answers = {"made": made}
    answers["tip"] = await http.get(url, headers=headers)
    answers["unchanged"] = await http.get(
        url, headers={**headers, "if-none-match": answers["tip"].headers["etag"]}
    )
    answers["head"] = await http.head(url, headers=headers)
    answers["now"] = await http.get(url, params={"offset": "now"}, headers=headers)
    answers["poll"] = await http.get(
        url, params={"offset": "-1", "live": "long-poll"}, headers=headers
    )
    answers["no news"] = await http.get(
        url, params={"offset": "now", "live": "long-poll"}, headers=headers
    )
    answers["append"] = await http.post(url, headers={**headers, **JSON}, content="2")
    answers["page"] = await http.get(url, headers=headers)
    closing = {**headers, "stream-closed": "true"}
    answers["closed"] = await http.post(url, headers=closing)
    rest = {"offset": answers["page"].headers["stream-next-offset"]}
    answers["end"] = await http.get(url, params=rest, headers=headers)
    answers["events"] = await http.get(url, params={"offset": "-1", "live": "sse"}, headers=headers)
    tags = {**headers, "if-none-match": answers["end"].headers["etag"]}
    answers["unchanged end"] = await http.get(url, params=rest, headers=tags)
    answers["list"] = await http.get("/v1/streams", headers=headers)
    answers["too far"] = await http.get(url, params={"offset": "x"}, headers=headers)
    answers["other"] = await http.get("/v1/stream/nobody-has-made-it", headers=headers)
    answers["deleted"] = await http.delete(url, headers=headers)
    assert [(kind, a.status_code) for kind, a in answers.items()] == [
        ("made", 201), ("tip", 200), ("unchanged", 304), ("head", 200), ("now", 200),
        ("poll", 200), ("no news", 204), ("append", 204), ("page", 200), ("closed", 204),
        ("end", 200), ("events", 200), ("unchanged end", 304), ("list", 200), ("too far", 400),
        ("other", 404), ("deleted", 204),
    ]  # fmt: skip
    return answers


def directives(answer: httpx.Response) -> set[str]:
    return {part.strip() for part in answer.headers["cache-control"].split(",")}


@pytest.mark.parametrize(("security", "headers"), LOGINS.values(), ids=LOGINS.keys())
async def test_with_a_login_no_answer_is_for_shared_caches(
    client: Client, unique: Unique, security: dict[str, Any], headers: Callable[[], dict[str, str]]
) -> None:
    told_apart = {"authorization"} | ({"cookie"} if "check" in security else set())
    async with gateway_with(client, **security) as http:
        for kind, answer in (await answers_of(http, unique("private"), headers())).items():
            said = directives(answer)
            assert "public" not in said, kind
            assert said & {"private", "no-store"}, kind
            varies = {name.strip().lower() for name in answer.headers.get("vary", "").split(",")}
            assert "no-store" in said or varies >= told_apart, kind
        refused = await http.get(f"/v1/stream/{unique('private')}")
        assert (refused.status_code, directives(refused)) == (401, {"no-store"})


async def test_a_signed_url_is_for_its_bearer(client: Client, unique: Unique) -> None:
    name = unique("signed")
    url = sign_url(name, key=KEY, expires_at=time.time() + 60)
    async with gateway_with(client, url_signing_keys=(KEY,), allow_anonymous=True) as http:
        assert (await http.put(f"/v1/stream/{name}", headers=JSON)).status_code == 201
        answer = await http.get(url)
        assert answer.status_code == 200
        assert "private" in directives(answer)
        assert "authorization" in answer.headers["vary"].lower()


async def test_without_a_login_what_has_passed_is_for_everybody(
    client: Client, unique: Unique
) -> None:
    async with gateway_with(client) as http:
        answers = await answers_of(http, unique("public"), {})
    for kind in ("end", "unchanged end"):
        assert directives(answers[kind]) >= {"public", "max-age=60"}
    assert directives(answers["tip"]) == {"public", "no-cache"}
    varied = {answers[kind].headers.get("vary", "") for kind in ("tip", "end", "unchanged end")}
    assert not any("ookie" in vary or "uthorization" in vary for vary in varied)


async def test_an_application_names_what_its_check_looks_at() -> None:
    async def check(access: Access) -> Grant | None:
        return replace(access.grant, varies_on=()) if access.request.headers.get("x-key") else None

    gate = authority(check=check, check_headers=("X-Key", "X-Tenant"))
    grant = await gate.authorize(request(headers=[("x-key", "1")]), "read", "a")
    assert grant.is_private
    assert grant.varies_on == ("Authorization", "X-Key", "X-Tenant")
