"""A gateway that wants to know who asks: the page asks for a token, and keeps it in the tab."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import jwt
import pytest
from playwright.async_api import expect

from workflow_streams.testing.fixtures import StreamServer

from ..http.serving import GatewayProcess, running_gateway
from .conftest import OpenLooker
from .hosts import Hosts

pytestmark = pytest.mark.asyncio(loop_scope="package")

SECRET = "a secret of the tests, long enough for HS256"
# What the gateway grants the clock of a token's issuer.
LEEWAY_SECONDS = 1


@pytest.fixture(scope="module")
def closed_gateway(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    with running_gateway(
        stream_server.address,
        security={"leeway_seconds": LEEWAY_SECONDS},
        environ={"WORKFLOW_STREAMS_JWT_SECRET": SECRET},
    ) as gateway:
        yield gateway


def token(seconds: float, *, ids: str = "*") -> str:
    rules = [{"ids": [ids], "actions": ["read"]}]
    return jwt.encode({"exp": time.time() + seconds, "streams": rules}, SECRET, "HS256")


async def test_a_token_is_asked_for_and_kept_in_the_tab_only(
    new_looker: OpenLooker,
    closed_gateway: GatewayProcess,
    hosts: Hosts,
    unique: Callable[[str], str],
) -> None:
    stream = unique("closed")
    await hosts.host(stream)
    await hosts.numbers(stream, 0, 3)
    looker = await new_looker(closed_gateway.url)
    await looker.open(stream)
    dialog = looker.page.get_by_role("dialog", name="Token")
    await expect(dialog).to_be_visible()
    await dialog.get_by_label("Bearer token").fill("x.y.z")
    await dialog.get_by_role("button", name="Use it").click()
    await expect(looker.at("#token-message")).to_have_text("The credentials are not valid here.")
    await dialog.get_by_label("Bearer token").fill(f"Bearer {token(60)}")
    await dialog.get_by_role("button", name="Use it").click()
    await looker.live()
    assert [row.offset for row in await looker.rows()] == [0, 1, 2]
    await looker.page.reload()
    await looker.live()
    kept = await looker.page.evaluate("() => [Object.keys(localStorage), document.cookie]")
    assert kept == [[], ""]
    other = await looker.context.new_page()
    await other.goto(f"{closed_gateway.url}/")
    await expect(other.get_by_role("dialog", name="Token")).to_be_visible()


async def test_with_a_fresh_token_it_goes_on_where_the_old_one_expired(
    new_looker: OpenLooker,
    closed_gateway: GatewayProcess,
    hosts: Hosts,
    unique: Callable[[str], str],
) -> None:
    stream = unique("expires")
    await hosts.host(stream)
    await hosts.numbers(stream, 0, 3)
    looker = await new_looker(closed_gateway.url)
    await looker.open(stream)
    dialog = looker.page.get_by_role("dialog", name="Token")
    await dialog.get_by_label("Bearer token").fill(token(2))
    await dialog.get_by_role("button", name="Use it").click()
    await looker.live()
    await expect(looker.at("#token-message")).to_have_text(
        "The credentials have expired; get fresh ones and resume."
    )
    await hosts.numbers(stream, 3, 6)
    await dialog.get_by_label("Bearer token").fill(token(60))
    await dialog.get_by_role("button", name="Use it").click()
    await looker.live()
    await looker.head(6)
    assert [row.offset for row in await looker.rows()] == list(range(6))


async def test_what_a_token_does_not_allow_is_said(
    new_looker: OpenLooker,
    closed_gateway: GatewayProcess,
    hosts: Hosts,
    unique: Callable[[str], str],
) -> None:
    stream = unique("others")
    await hosts.host(stream)
    looker = await new_looker(closed_gateway.url)
    await looker.open(stream)
    dialog = looker.page.get_by_role("dialog", name="Token")
    await dialog.get_by_label("Bearer token").fill(token(60, ids="nobodys-own-*"))
    await dialog.get_by_role("button", name="Use it").click()
    await expect(looker.at("#note")).to_have_text("The credentials do not allow this.")
    await expect(looker.at("#list-status")).to_have_text("0 streams")
