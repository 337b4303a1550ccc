"""GET /v1/streams: every stream once, with its state, a page at a time."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import jwt
import pytest
from temporalio.client import Client

from workflow_streams.gateway.listing import prefixes_of, query_of
from workflow_streams.gateway.refusals.problems import InvalidRequestError
from workflow_streams.gateway.security import Grant
from workflow_streams.gateway.security.claims import Rule
from workflow_streams.gateway.security.patterns import Pattern
from workflow_streams.hosted.worker import host_worker
from workflow_streams.testing.fixtures import StreamServer

from .hosts import ended, hosting
from .serving import GatewayProcess, running_gateway

Unique = Callable[[str], str]


async def listed(
    http: httpx.AsyncClient, gateway: GatewayProcess, **params: Any
) -> dict[str, dict[str, Any]]:
    """Return all entries, page by page, by id."""
    entries: dict[str, dict[str, Any]] = {}
    page: str | None = ""
    while page is not None:
        answer = await http.get(f"{gateway.url}/v1/streams", params={**params, "page": page})
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        for entry in answer.json()["streams"]:
            assert entry["id"] not in entries
            entries[entry["id"]] = entry
        page = answer.json().get("next_page")
    return entries


async def test_streams_are_listed_with_their_state_and_nothing_else_is(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    mark = unique("listed")
    names = {kind: f"{mark}/{kind}" for kind in ("Talks", "ContribTalks", "Quiet", "Stutters")}
    made, deleted = f"{mark}/made", f"{mark}/deleted"
    for name in (made, deleted):
        assert (await http.put(gateway.stream(name), json=[1])).status_code == 201
    assert (await http.delete(gateway.stream(deleted))).status_code == 204
    async with AsyncExitStack() as stack:
        hosts = {
            kind: await stack.enter_async_context(hosting(client, kind, name))
            for kind, name in names.items()
        }
        await hosts["Stutters"].signal("start")
        await ended(hosts["Stutters"])

        async def seen(**params: Any) -> dict[str, dict[str, Any]]:
            return await listed(http, gateway, limit=2, prefix=mark, **params)

        expected = {names["Talks"], names["Stutters"], made}
        # Visibility follows a little later.
        while (entries := await seen()).keys() != expected or (
            entries[names["Stutters"]]["state"] != "closed"
        ):
            await asyncio.sleep(0.05)
        assert entries[names["Talks"]] == {
            "id": names["Talks"],
            "url": f"/v1/stream/{names['Talks']}",
            "type": "Talks",
            "state": "running",
            "outcome": None,
            "started": entries[names["Talks"]]["started"],
            "closed": None,
        }
        assert entries[names["Talks"]]["started"].endswith("Z")
        assert entries[names["Stutters"]]["outcome"] == "completed"
        assert entries[names["Stutters"]]["closed"] >= entries[names["Stutters"]]["started"]
        assert entries[made]["content_type"] == "application/json"

        running, closed = await seen(state="running"), await seen(state="closed")
        assert running.keys() == expected - {names["Stutters"]}
        assert closed.keys() == {names["Stutters"]}
        contrib = await seen(type="ContribTalks", state="running")
        assert contrib.keys() == {*running, names["ContribTalks"]}
        for entry in entries.values():
            assert (await http.get(gateway.url + entry["url"])).status_code == 200


async def test_what_has_expired_is_not_listed_although_no_worker_has_ended_it(
    stream_server: StreamServer, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    """A URL that answers 404 is none to be shown."""
    name = unique("expiring")
    how = {"host_worker": False, "host_task_queue": name}
    with running_gateway(stream_server.address, **how) as nobody:
        async with host_worker(client, task_queue=name):
            soon = datetime.now(timezone.utc) + timedelta(seconds=5)
            headers = {"stream-expires-at": soon.isoformat()}
            assert (await http.put(nobody.stream(f"{name}-1"), headers=headers)).status_code == 201
            assert (await http.put(nobody.stream(f"{name}-2"))).status_code == 201
            while f"{name}-2" not in await listed(http, nobody, prefix=name):
                await asyncio.sleep(0.05)
        while (await http.get(nobody.stream(f"{name}-1"))).status_code != 404:
            await asyncio.sleep(0.05)
        assert (await listed(http, nobody, prefix=name)).keys() == {f"{name}-2"}


async def test_ids_are_found_by_their_prefix_whatever_stands_in_it(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    mark = unique("found")
    names = [f"{mark}{rest}" for rest in ("", "1", "%", "'x", '"', "\\", "_", "ü", "`", "11")]
    for name in names:
        assert (await http.put(gateway.stream(name))).status_code == 201

    async def found(prefix: str) -> set[str]:
        return set(await listed(http, gateway, prefix=prefix))

    while await found(mark) != set(names):
        await asyncio.sleep(0.05)
    for prefix in names:
        assert await found(prefix) == {name for name in names if name.startswith(prefix)}
    assert await found(f"{mark}2") == set()
    assert await found(mark.upper()) == set()


async def test_a_token_for_few_streams_finds_them_among_many(
    http: httpx.AsyncClient, client: Client, unique: Unique, stream_server: StreamServer
) -> None:
    secret = secrets.token_urlsafe(32)
    mark = unique("few")
    with running_gateway(
        stream_server.address, environ={"WORKFLOW_STREAMS_JWT_SECRET": secret}
    ) as gateway:

        def bearer(*ids: str) -> dict[str, str]:
            rules = [{"ids": list(ids), "actions": ["read", "write"]}]
            claims = {"exp": time.time() + 600, "streams": rules}
            return {"authorization": f"Bearer {jwt.encode(claims, secret, 'HS256')}"}

        for name in (f"{mark}-a", f"{mark}-b", f"{mark}-c"):
            answer = await http.put(gateway.stream(name), headers=bearer("*"))
            assert answer.status_code == 201
        page: dict[str, Any] = {"streams": []}
        while len(page["streams"]) < 2:
            await asyncio.sleep(0.05)
            url, mine = f"{gateway.url}/v1/streams", bearer(f"{mark}-a*", f"{mark}-c")
            page = (await http.get(url, params={"limit": 100}, headers=mine)).json()
        assert {entry["id"] for entry in page["streams"]} == {f"{mark}-a", f"{mark}-c"}
        assert "next_page" not in page


def grant_of(*ids: str) -> Grant:
    rule = Rule(tuple(map(Pattern, ids)), frozenset({"read"}))
    return Grant(topics=None, expires_at=None, rules=(rule,))


@pytest.mark.parametrize(
    ("wanted", "ids", "expected"),
    [
        ("", ["*"], set()),
        ("order-", ["*"], {"order-"}),
        ("", ["a-*", "b"], {"a-", "b"}),
        ("a-1", ["a-*", "b"], {"a-1"}),
        ("a", ["a-*", "ab", "b"], {"a-", "ab"}),
        ("", ["a-*", "*-z"], set()),
        ("q", ["a-*"], {"q"}),
        ('a"b', ["*"], {"a"}),
        ("", ['"*', "b*"], set()),
        ("", [f"team-{k}-*" for k in range(21)], set()),
    ],
)
def test_the_query_is_bounded_by_what_may_be_seen(
    wanted: str, ids: list[str], expected: set[str]
) -> None:
    assert prefixes_of(wanted, grant_of(*ids)) == expected


@pytest.mark.parametrize(
    "params",
    [{"state": "odd"}, {"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"page": "%"},
     {"type": 'x" OR "1" = "1'}, {"type": ""},
     {"prefix": "x" * 1001}],
)  # fmt: skip
async def test_malformed_questions_are_refused(
    gateway: GatewayProcess, http: httpx.AsyncClient, params: dict[str, str]
) -> None:
    assert (await http.get(f"{gateway.url}/v1/streams", params=params)).status_code == 400


def test_a_type_cannot_change_the_query() -> None:
    assert query_of("running", ["My Type"]) == (
        '(TemporalChangeVersion = "workflow-streams-history" OR WorkflowType = "My Type") '
        'AND ExecutionStatus = "Running"'
    )
    assert query_of("all", [], ["b", "a"]).endswith(
        'AND (WorkflowId STARTS_WITH "a" OR WorkflowId STARTS_WITH "b")'
    )
    for bad in ('a"', "a'", "a`", "a\\", "a\n", "a" * 201):
        with pytest.raises(InvalidRequestError):
            query_of("all", [bad])
