"""A signed URL reads one stream for a while, and nothing else comes of it."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_streams.gateway.refusals import (
    AmbiguousCredentialsError,
    ExpiredCredentialsError,
    ForbiddenError,
    InvalidCredentialsError,
    RefusedError,
)
from workflow_streams.gateway.requests.paths import Target, parse_path
from workflow_streams.gateway.security import Authority, Secret, sign_url
from workflow_streams.gateway.security.claims import Action
from workflow_streams.gateway.security.credentials.signed_urls import UrlVerifier

from . import issuing
from .asking import authority, request
from .issuing import SECRET, token

KEY = Secret(b"k" * 32)
# Later than the last test of a session that has just begun.
LATER = time.time() + 6 * 3600


def gate(**more: Any) -> Authority:
    return authority(jwt_secret=Secret(SECRET), url_signing_keys=(KEY,), **more)


def access_of(url: str) -> str:
    return dict(parse_qsl(urlsplit(url).query))["access"]


async def reads(gate: Authority, url: str, workflow_id: str, *topics: str) -> Any:
    grant = await gate.authorize(request(url), "read", workflow_id, topics)
    assert grant.credential == "signed-url"
    return grant.topics


async def test_a_signed_url_reads_its_stream_without_a_header() -> None:
    url = sign_url("order-1", key=KEY, expires_at=LATER, subject="ann", query=[("live", "sse")])
    assert url.startswith("/v1/stream/order-1?live=sse&access=")
    grant = await gate().authorize(request(url), "read", "order-1")
    assert (grant.topics, grant.subject, grant.expires_at) == (None, "ann", int(LATER))
    assert grant.is_private


def test_an_id_that_ends_like_a_command_is_still_an_id() -> None:
    for workflow_id, path in [
        ("a/b", "a/b"),
        ("a/cancel", "a%2Fcancel"),
        ("a/b?c", "a/b%3Fc"),
        ("__ds", "%5F%5Fds"),
        ("__ds/x", "%5F%5Fds%2Fx"),
    ]:
        url = sign_url(workflow_id, key=KEY, expires_at=LATER)
        assert urlsplit(url).path == f"/v1/stream/{path}"
        assert parse_path(path).workflow_id == workflow_id
        assert parse_path(path) == Target(workflow_id)


async def test_it_reads_on_from_any_place_of_the_stream() -> None:
    url = sign_url("order-1", key=KEY, expires_at=LATER)
    for place in ("&offset=-1", "&offset=00000000000000000007&cursor=9", "&live=long-poll"):
        assert await reads(gate(), url + place, "order-1") is None


async def test_it_reads_no_other_stream_and_does_nothing_else() -> None:
    url = sign_url("order-*", key=KEY, expires_at=LATER)
    assert await reads(gate(), url, "order-*") is None
    for workflow_id in ("order-1", "order-", "order-**", "order"):
        with pytest.raises(ForbiddenError):
            await reads(gate(), url, workflow_id)
    actions: list[Action] = ["write", "cancel", "list", "metrics"]
    for action in actions:
        with pytest.raises(ForbiddenError):
            await gate().authorize(request(url), action, "order-*")


async def test_it_reads_no_topic_that_it_was_not_signed_for() -> None:
    url = sign_url("order-1", key=KEY, expires_at=LATER, topics=["a", "b"])
    assert await reads(gate(), url, "order-1") == {"a", "b"}
    assert await reads(gate(), url, "order-1", "a") == {"a"}
    for topics in (["c"], ["a", "c"]):
        with pytest.raises(ForbiddenError):
            await reads(gate(), url, "order-1", *topics)
    with pytest.raises(ForbiddenError):
        await reads(gate(), sign_url("order-1", key=KEY, expires_at=LATER, topics=[]), "order-1")


async def test_after_its_expiry_it_is_refused_however_often_it_was_used_before() -> None:
    url = sign_url("order-1", key=KEY, expires_at=time.time() + 1.5)
    assert await reads(gate(), url, "order-1") is None
    with pytest.raises(ExpiredCredentialsError):
        while True:
            await reads(gate(), url, "order-1")
            await asyncio.sleep(0.05)


access = access_of(sign_url("order-1", key=KEY, expires_at=4_000_000_000, topics=["a"]))


@given(st.integers(0, len(access) - 1), st.sampled_from("AZaz09-_.=+%&é"))
def test_one_changed_character_breaks_it(at: int, character: str) -> None:
    changed = access[:at] + character + access[at + 1 :]
    verifier = UrlVerifier((KEY,))
    if changed == access:
        assert verifier.verify(changed).rules
    else:
        with pytest.raises(InvalidCredentialsError):
            verifier.verify(changed)


@given(st.text(min_size=1, max_size=30), st.none() | st.lists(st.text(max_size=5), max_size=3))
def test_whatever_the_id_and_topics_it_is_signed_for_them_alone(
    workflow_id: str, topics: list[str] | None
) -> None:
    url = sign_url(workflow_id, key=KEY, expires_at=LATER, topics=topics)
    assert unquote(urlsplit(url).path) == "/v1/stream/" + workflow_id
    [rule] = UrlVerifier((KEY,)).verify(access_of(url)).rules
    assert rule.covers("read", workflow_id)
    assert not rule.covers("read", workflow_id + "x")
    assert not rule.covers("read", "x" + workflow_id)
    assert rule.topics == (None if topics is None else frozenset(topics))


async def test_only_the_gateways_own_keys_count() -> None:
    other = Secret(secrets.token_bytes(32))
    url = sign_url("order-1", key=other, expires_at=LATER)
    with pytest.raises(InvalidCredentialsError):
        await reads(gate(), url, "order-1")
    rotated = authority(jwt_secret=Secret(SECRET), url_signing_keys=(other, KEY))
    for key in (other, KEY):
        assert await reads(rotated, sign_url("a", key=key, expires_at=LATER), "a") is None
    grant = await rotated.authorize(request(token=token()), "read", "a")
    url, _ = rotated.sign(grant, "a")
    assert UrlVerifier((other,)).verify(access_of(url)).subject == "ann"


async def test_a_bearer_token_is_no_signed_url_and_the_other_way_round() -> None:
    # Not even by the same key, should somebody use one for both.
    same = UrlVerifier((Secret(SECRET),))
    for bearer in (token(), token(aud="workflow-streams-gateway")):
        with pytest.raises(InvalidCredentialsError):
            same.verify(bearer)
    url = sign_url("a", key=Secret(SECRET), expires_at=LATER)
    for audience in (None, "workflow-streams-gateway"):
        with pytest.raises(InvalidCredentialsError):
            await authority(jwt_secret=Secret(SECRET), jwt_audience=audience).authorize(
                request(token=access_of(url)), "read", "a"
            )


@pytest.mark.parametrize("parameter", ["access=", "access=x", "access", "a=1&access=a.b.c"])
async def test_an_empty_or_made_up_parameter_is_not_passed_over(parameter: str) -> None:
    for gate_ in (gate(), authority()):
        with pytest.raises(InvalidCredentialsError):
            await gate_.authorize(request(f"/v1/stream/a?{parameter}"), "read", "a")


async def test_two_sets_of_credentials_are_refused() -> None:
    url = sign_url("a", key=KEY, expires_at=LATER)
    for twice in (request(url, token=token()), request(f"{url}&access={access_of(url)}")):
        with pytest.raises(AmbiguousCredentialsError):
            await gate().authorize(twice, "read", "a")


async def test_a_grant_signs_no_more_than_it_has() -> None:
    ends = int(time.time()) + 30
    rules = [{"ids": ["a"], "actions": ["read"], "topics": ["x"]}]
    gate_ = gate(leeway_seconds=0)
    grant = await gate_.authorize(request(token=token(exp=ends, streams=rules)), "read", "a")
    url, expires_at = gate_.sign(grant, "a", seconds=3600, base="/mounted")
    assert expires_at == ends
    assert url.startswith("/mounted/v1/stream/a?access=")
    signed = await gate_.authorize(request(url), "read", "a")
    assert (signed.topics, signed.expires_at, signed.subject) == ({"x"}, ends, "ann")
    with pytest.raises(ForbiddenError):
        gate_.sign(signed, "a")


async def test_its_time_is_bounded_by_the_settings() -> None:
    gate_ = gate(signed_url_seconds=20, max_signed_url_seconds=50)
    grant = await gate_.authorize(request(token=token(exp=4_000_000_000)), "read", "a")
    for asked, least in [(None, 20), (10, 10), (1e12, 50)]:
        before = int(time.time())
        _, expires_at = gate_.sign(grant, "a", seconds=asked)
        assert before + least <= expires_at <= time.time() + least


async def test_without_a_key_each_process_has_one_of_its_own() -> None:
    mine, other = authority(), authority()
    url, _ = mine.sign(await mine.authorize(request(), "read", "a"), "a")
    assert await reads(mine, url, "a") is None
    with pytest.raises(RefusedError):
        await reads(other, url, "a")


def test_the_payload_names_no_key_and_no_more_than_it_must() -> None:
    _, payload, _ = access_of(sign_url("a*", key=KEY, expires_at=7, subject="ann")).split(".")
    assert json.loads(base64.urlsafe_b64decode(payload + "==")) == {
        "aud": "workflow-streams-gateway",
        "exp": 7,
        "streams": [{"ids": ["a\\*"], "actions": ["read"]}],
        "sub": "ann",
    }
    assert issuing.SECRET not in repr(KEY)
