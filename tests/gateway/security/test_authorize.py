"""Each request is decided by its credentials, the user's check, or where it comes from."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from workflow_streams.gateway.refusals import (
    AmbiguousCredentialsError,
    AuthenticationRequiredError,
    ExpiredCredentialsError,
    ForbiddenError,
    InvalidCredentialsError,
    InvalidWorkflowIdError,
    LocalOnlyError,
)
from workflow_streams.gateway.security import Access, Grant, Secret
from workflow_streams.gateway.security.claims import Action

from .asking import authority, request
from .issuing import DO_ALL, SECRET, token

ACTIONS: list[Action] = ["read", "write", "cancel", "list", "metrics"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_with_token_keys_nothing_goes_without_a_token(action: Action) -> None:
    gate = authority(jwt_secret=Secret(SECRET))
    with pytest.raises(AuthenticationRequiredError) as caught:
        await gate.authorize(request(), action, "a")
    assert caught.value.status == 401
    assert dict(caught.value.headers)["www-authenticate"].startswith("Bearer ")
    grant = await gate.authorize(request(token=token(streams=DO_ALL)), action, "a")
    assert (grant.credential, grant.subject, grant.topics) == ("token", "ann", None)


async def test_a_token_limits_what_is_read_and_for_how_long() -> None:
    ends = int(time.time()) + 60
    rules = [{"ids": ["order-*"], "actions": ["read"], "topics": ["a", "b"]}]
    asking = request(token=token(exp=ends, streams=rules))
    gate = authority(jwt_secret=Secret(SECRET), leeway_seconds=5)
    grant = await gate.authorize(asking, "read", "order-1")
    assert (grant.topics, grant.expires_at, grant.is_private) == ({"a", "b"}, ends + 5, True)
    assert (await gate.authorize(asking, "read", "order-1", ["a"])).topics == {"a"}
    for workflow_id, topics in [("other", []), ("order-1", ["c"])]:
        with pytest.raises(ForbiddenError):
            await gate.authorize(asking, "read", workflow_id, topics)
    listing = await gate.authorize(asking, "list")
    assert [i for i in ("order-1", "other") if listing.may_list(i)] == ["order-1"]


async def test_what_is_wrong_with_a_token_stands_in_the_log_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = authority(jwt_secret=Secret(SECRET))
    caplog.set_level("INFO")
    bad = token("another secret of more than 32 bytes")
    with pytest.raises(InvalidCredentialsError) as caught:
        await gate.authorize(request(token=bad), "read", "a")
    assert "Signature" not in str(caught.value)
    assert "Signature verification failed" in caplog.text
    assert bad not in caplog.text
    with pytest.raises(ExpiredCredentialsError, match="fresh"):
        await gate.authorize(request(token=token(exp=1)), "read", "a")


@pytest.mark.parametrize("workflow_id", ["", "a/../b", "..", "a\x00b", "x" * 1001])
@pytest.mark.parametrize("action", ["read", "write", "cancel"])
async def test_an_odd_id_is_refused_before_it_is_asked_who_comes(
    workflow_id: str, action: Action
) -> None:
    gate = authority(jwt_secret=Secret(SECRET))
    for asking in (request(), request(token=token(streams=DO_ALL))):
        with pytest.raises(InvalidWorkflowIdError):
            await gate.authorize(asking, action, workflow_id)


async def test_other_headers_and_parameters_are_no_credentials() -> None:
    gate = authority(jwt_secret=Secret(SECRET))
    good = token()
    for asking in (
        request(f"/v1/stream/a?token={good}&authorization=Bearer%20{good}&ACCESS={good}"),
        request(headers=[("x-authorization", f"Bearer {good}"), ("cookie", f"token={good}")]),
    ):
        with pytest.raises(AuthenticationRequiredError):
            await gate.authorize(asking, "read", "a")
    with pytest.raises(AmbiguousCredentialsError):
        await gate.authorize(
            request(token=good, headers=[("authorization", f"Bearer {good}")]), "read", "a"
        )


# Without login


async def test_without_login_this_machine_may_do_anything() -> None:
    gate = authority()
    for action in ACTIONS:
        grant = await gate.authorize(request(), action, "a")
        assert (grant.credential, grant.topics, grant.expires_at) == ("anonymous", None, None)
        assert not grant.is_private
    assert (await gate.authorize(request(), "read", "a", ["x"])).topics == {"x"}
    # A header that some proxy or browser adds does not matter then.
    basic = request(headers=[("authorization", "Basic eA==")])
    assert (await gate.authorize(basic, "read", "a")).credential == "anonymous"


@pytest.mark.parametrize(
    "local",
    [
        {"host": "localhost"},
        {"host": "LocalHost:80"},
        {"host": "localhost."},
        {"host": "[::1]:4437", "client": ("::1", 1), "server": ("::1", 4437)},
        {"client": ("::ffff:127.0.0.1", 1)},
        {"client": ("127.8.9.1", 1)},
        {"client": None, "server": ("/run/gateway.sock", None), "host": "localhost"},
    ],
)
async def test_this_machine_has_several_names(local: dict[str, Any]) -> None:
    assert (await authority().authorize(request(**local), "read", "a")).credential == "anonymous"


@pytest.mark.parametrize(
    "foreign",
    [
        {"client": ("192.0.2.7", 1)},
        {"client": ("::ffff:192.0.2.7", 1)},
        {"client": ("2001:db8::1", 1)},
        {"client": ("testclient", 1)},
        {"server": ("192.0.2.7", 4437)},
        {"server": ("0.0.0.0", 4437)},
        # DNS rebinding: the browser connects to 127.0.0.1 by another name.
        {"host": "evil.example"},
        {"host": "evil.example:4437"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "evil.example#localhost"},
        {"host": "[::2]"},
        {"host": ""},
    ],
)
async def test_without_login_nobody_else_may_do_anything(foreign: dict[str, Any]) -> None:
    for action in ACTIONS:
        with pytest.raises(LocalOnlyError):
            await authority().authorize(request(**foreign), action, "a")


async def test_allowed_hosts_and_allow_anonymous_open_it_in_as_many_words() -> None:
    by_name = request(host="Streams.local:80")
    assert await authority(allowed_hosts=("streams.local",)).authorize(by_name, "read", "a")
    foreign = request(host="any.example", client=("192.0.2.7", 1), server=("192.0.2.1", 80))
    for action in ACTIONS:
        assert await authority(allow_anonymous=True).authorize(foreign, action, "a")


# The user's own check


async def test_the_users_check_alone_decides() -> None:
    seen: list[Access] = []

    async def check(access: Access) -> Grant | None:
        seen.append(access)
        session = access.request.cookies.get("session")
        if session is None:
            raise AuthenticationRequiredError("Log in first.")
        if access.workflow_id != "a":
            return None
        return access.grant.narrowed(topics=["x", "y"], subject=session, expires_at=99.0)

    gate = authority(check=check)
    from_afar: dict[str, Any] = {"client": ("192.0.2.7", 1), "host": "any.example"}
    with pytest.raises(AuthenticationRequiredError, match="Log in first"):
        await gate.authorize(request(**from_afar), "read", "a")
    ann = [("cookie", "session=ann")]
    with pytest.raises(ForbiddenError):
        await gate.authorize(request(headers=ann, **from_afar), "read", "b")
    grant = await gate.authorize(request(headers=ann, **from_afar), "read", "a", ["x"])
    assert (grant.topics, grant.subject, grant.expires_at) == ({"x"}, "ann", 99.0)
    assert grant.is_private
    assert [(a.action, a.workflow_id, a.topics) for a in seen] == [
        ("read", "a", frozenset()),
        ("read", "b", frozenset()),
        ("read", "a", {"x"}),
    ]


async def test_the_users_check_comes_after_the_token_and_may_only_take_away() -> None:
    async def check(access: Access) -> Grant | None:
        assert access.grant.subject == "ann"
        return access.grant if access.workflow_id == "mine" else None

    gate = authority(jwt_secret=Secret(SECRET), check=check)
    with pytest.raises(AuthenticationRequiredError):
        await gate.authorize(request(), "read", "mine")
    assert (await gate.authorize(request(token=token()), "read", "mine")).credential == "token"
    with pytest.raises(ForbiddenError):
        await gate.authorize(request(token=token()), "read", "yours")
    with pytest.raises(ForbiddenError):
        await gate.authorize(request(token=token()), "write", "mine")


async def test_a_signed_url_is_shown_to_the_users_check_again() -> None:
    banned: set[str] = set()

    async def check(access: Access) -> Grant | None:
        return None if access.grant.subject in banned else access.grant

    gate = authority(jwt_secret=Secret(SECRET), check=check)
    url, _ = gate.sign(await gate.authorize(request(token=token()), "read", "a"), "a")
    assert (await gate.authorize(request(url), "read", "a")).credential == "signed-url"
    banned.add("ann")
    with pytest.raises(ForbiddenError):
        await gate.authorize(request(url), "read", "a")


async def test_a_failing_or_cancelled_check_lets_nobody_in() -> None:
    async def fails(access: Access) -> Grant | None:
        raise LookupError("no database")

    with pytest.raises(LookupError):
        await authority(check=fails).authorize(request(), "read", "a")

    async def waits(access: Access) -> Grant | None:
        await asyncio.Event().wait()
        return access.grant

    asking = asyncio.create_task(authority(check=waits).authorize(request(), "read", "a"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
