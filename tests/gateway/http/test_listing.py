"""GET /v1/streams: every stream once, with its state, a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from workflow_streams.gateway.listing import parse_page, query_of
from workflow_streams.gateway.problems import InvalidRequestError

from .hosts import ended, hosting
from .serving import GatewayProcess

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
            entries = await listed(http, gateway, limit=2, **params)
            return {i: entry for i, entry in entries.items() if i.startswith(mark)}

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


@pytest.mark.parametrize(
    "params",
    [{"state": "odd"}, {"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"page": "%"},
     {"type": 'x" OR "1" = "1'}, {"type": ""}],
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
    for bad in ('a"', "a'", "a`", "a\\", "a\n", "a" * 201):
        with pytest.raises(InvalidRequestError):
            query_of("all", [bad])


def test_a_page_is_read_back() -> None:
    assert parse_page(None) is None
    assert parse_page("-_8=") == b"\xfb\xff"
