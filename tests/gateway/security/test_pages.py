"""The token of a page tells nothing, and the server gets none that the gateway has not made."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from workflow_streams.gateway.refusals.problems import InvalidRequestError
from workflow_streams.gateway.security import Access, Grant, Secret, SecuritySettings
from workflow_streams.gateway.security.pages import PageTokens

from ..http.serving import GatewayProcess
from .gated import JSON, bearer, problem, reader_of

OLD, NEW = Secret(secrets.token_bytes(32)), Secret(secrets.token_bytes(32))
PAGE = b'{"CloseTime":"9999-12-31T23:59:59Z","RunID":"a run"}'


async def check(access: Access) -> Grant:
    return access.grant


def tokens(**settings: Any) -> PageTokens:
    return PageTokens.from_settings(SecuritySettings(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"allow_anonymous": True},
        {"jwt_secret": OLD},
        {"url_signing_keys": (OLD,)},
        {"url_signing_keys": (OLD,), "jwt_secret": NEW},
        {"url_signing_keys": (OLD,), "check": check},
    ],
)
def test_gateways_of_the_same_keys_read_each_others_tokens(settings: dict[str, Any]) -> None:
    token = tokens(**settings).seal(PAGE)
    assert tokens(**settings).open(token) == PAGE
    assert b"run" not in base64.urlsafe_b64decode(token)


def test_keys_are_changed_one_after_the_other() -> None:
    old, both, new = (tokens(url_signing_keys=keys) for keys in ((OLD,), (NEW, OLD), (NEW,)))
    assert both.open(old.seal(PAGE)) == new.open(both.seal(PAGE)) == PAGE
    with pytest.raises(InvalidRequestError, match="begin again"):
        new.open(old.seal(PAGE))


def test_a_login_without_a_secret_to_share_keeps_its_tokens_to_itself() -> None:
    first, second = tokens(check=check), tokens(check=check)
    assert first.open(first.seal(PAGE)) == PAGE
    for other in (second, tokens()):
        with pytest.raises(InvalidRequestError):
            other.open(first.seal(PAGE))


@pytest.mark.parametrize("text", ["x", "AAAA", "e30=", "é", "%", "gAAAAA" * 200, "\x00"])
def test_what_is_no_token_is_refused(text: str) -> None:
    for own in (tokens(), tokens(jwt_secret=OLD)):
        with pytest.raises(InvalidRequestError):
            own.open(text)
    with pytest.raises(InvalidRequestError):
        tokens().open(tokens().seal(PAGE)[:-1])


async def test_pages_lead_past_streams_that_may_not_be_seen_and_tell_nothing_of_them(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Callable[[str], str]
) -> None:
    mark, url = unique("paged"), f"{gateway.url}/v1/streams"
    for name in ("open-1", *(f"hidden-{i}" for i in range(12)), "open-2"):
        made = await http.put(gateway.stream(f"{mark}-{name}"), headers={**bearer(), **JSON})
        assert made.status_code == 201
    params: dict[str, Any] = {"prefix": mark, "limit": 1}
    while (
        len((await http.get(url, params={"prefix": mark}, headers=bearer())).json()["streams"]) < 14
    ):
        await asyncio.sleep(0.05)
    # A pattern that begins with a star: what is asked of the server is not narrowed by it.
    mine, seen, pages = reader_of("*-open-*"), [], 0
    while True:
        answer = (await http.get(url, params=params, headers=mine)).json()
        seen += [entry["id"] for entry in answer["streams"]]
        if "next_page" not in answer:
            break
        pages += 1
        told = base64.urlsafe_b64decode(answer["next_page"])
        assert not any(word in told for word in (b"Time", b"RunID"))
        params["page"] = answer["next_page"]
    assert seen == [f"{mark}-open-2", f"{mark}-open-1"]
    assert pages >= 2


@pytest.mark.parametrize(
    "query",
    [
        "page=AAAA",
        "page=e30%3D",
        "page=" + base64.urlsafe_b64encode(b'{"CloseTime":"x"}').decode(),
        "page=%FF%00",
        "&".join(["type=T"] * 21),
        "&".join(["type=T"] * 1000),
        "type=%22",
        "type=" + "x" * 201,
        "prefix=" + "x" * 1001,
        "prefix=" + "%C3%A9" * 501,
        "prefix=a&prefix=b",
        "state=running&state=closed",
        "state=",
        "limit=1&limit=2",
        "limit=",
        "limit=-1",
        "limit=%D9%A1",
        "page=a&page=b",
    ],
    ids=lambda query: query[:20],
)
async def test_what_cannot_be_asked_is_the_clients_fault(
    gateway: GatewayProcess, http: httpx.AsyncClient, query: str
) -> None:
    answer = await http.get(f"{gateway.url}/v1/streams?{query}", headers=bearer())
    problem(answer, 400, "invalid-request")


@pytest.mark.parametrize(
    "query",
    [
        "&".join(f"type={'%F0%9F%98%80' * 20}{i}" for i in range(20)),
        "prefix=" + "%F0%9F%98%80" * 250,
        "prefix=%FF%00'%22",
        "prefix=" + "x" * 1000,
        "state=running&type=x%20OR%201",
        "limit=1000&nothing=else",
    ],
    ids=lambda query: query[:20],
)
async def test_the_most_that_can_be_asked_is_answered(
    gateway: GatewayProcess, http: httpx.AsyncClient, query: str
) -> None:
    answer = await http.get(f"{gateway.url}/v1/streams?{query}", headers=bearer())
    assert answer.status_code == 200, answer.text
