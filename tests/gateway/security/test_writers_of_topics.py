"""A writer of certain topics has no power over the writers of others."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.requests import Request

from workflow_streams.gateway.refusals import ForbiddenError
from workflow_streams.gateway.security import Access, Grant, Secret

from ..http.serving import GatewayProcess
from .asking import authority, request
from .gated import JSON, Bearer, bearer, problem
from .issuing import DO_ALL, SECRET, token

MOST = 2**53 - 1


def writer_of(workflow_id: str, *topics: str) -> Bearer:
    rule = {"ids": [workflow_id], "actions": ["write"], "topics": list(topics)}
    return {**bearer([rule]), **JSON}


def producing(name: str, epoch: int, sequence: int) -> dict[str, str]:
    return {
        "producer-id": name,
        "producer-epoch": str(epoch),
        "producer-seq": str(sequence),
    }


class Writers:
    """Posts as all may, or as the writer of one topic only."""

    def __init__(self, gateway: GatewayProcess, http: httpx.AsyncClient, stream: str) -> None:
        self._url, self._http = gateway.stream(stream), http
        self._all = {**bearer(), **JSON}
        self._some = writer_of(stream, "a", "b")

    async def _post(self, headers: Bearer, topic: str, more: dict[str, Any]) -> httpx.Response:
        url, content = f"{self._url}?topic={topic}", f'"{topic}"'
        return await self._http.post(url, headers={**headers, **more}, content=content)

    async def all(self, topic: str, **more: Any) -> httpx.Response:
        return await self._post(self._all, topic, _fields(more))

    async def some(self, topic: str, **more: Any) -> httpx.Response:
        return await self._post(self._some, topic, _fields(more))


def _fields(more: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in more.items()}


@pytest.fixture
def writers(gateway: GatewayProcess, http: httpx.AsyncClient, stream: str) -> Writers:
    return Writers(gateway, http, stream)


async def test_it_cannot_put_the_stream_in_an_order(writers: Writers) -> None:
    assert (await writers.all("c", stream_seq="2026-01")).status_code == 204
    told = problem(await writers.some("a", stream_seq=b"\xff" * 256), 403, "forbidden")
    assert "Stream-Seq" in told["detail"]
    problem(await writers.some("a", stream_seq=""), 403, "forbidden")
    assert (await writers.some("a")).status_code == 204
    assert (await writers.all("c", stream_seq="2026-02")).status_code == 204


async def test_its_producers_are_no_others(writers: Writers) -> None:
    answers = [
        await writers.all("c", **producing("bob", 0, 0)),
        # Of the same name, with the last epoch that there is.
        await writers.some("a", **producing("bob", MOST, 0)),
        await writers.some("b", **producing("bob", 7, 0)),
        await writers.all("c", **producing("bob", 0, 1)),
        await writers.all("a", **producing("bob", 0, 2)),
        # It is still exactly once, of each topic.
        await writers.some("a", **producing("bob", MOST, 0)),
        await writers.some("a", **producing("bob", MOST, 1)),
        await writers.some("b", **producing("bob", 6, 0)),
        await writers.some("b", **producing("bob", 7, 2)),
    ]
    assert [answer.status_code for answer in answers] == [200] * 5 + [204, 200, 403, 409]
    assert answers[5].headers["producer-epoch"] == str(MOST)
    assert answers[7].headers["producer-epoch"] == "7"
    assert answers[8].headers["producer-expected-seq"] == "1"


async def test_it_neither_makes_nor_closes_nor_deletes_a_stream(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    url, headers = gateway.stream(stream), writer_of(stream, "a")
    for answer in (
        await http.put(url, headers=headers),
        await http.delete(url, headers=headers),
        await http.post(f"{url}?topic=a", headers={**headers, "stream-closed": "true"}),
    ):
        told = problem(answer, 403, "forbidden")
        assert "the stream as a whole" in told["detail"]


@pytest.mark.parametrize("own", [False, True], ids=["narrowed", "a grant of its own"])
async def test_a_check_that_leaves_some_topics_holds_for_the_whole_stream_too(own: bool) -> None:
    async def check(access: Access) -> Grant:
        topics = frozenset("ab")
        if own:
            return Grant(topics, None, rules=access.grant.rules)
        return access.grant.narrowed(topics=topics)

    gate = authority(jwt_secret=Secret(SECRET), check=check)

    def asking() -> Request:
        return request(token=token(streams=DO_ALL))

    grant = await gate.authorize(asking(), "write", "x", ["a"])
    assert not grant.may_touch_all
    for topics in ([], ["c"], ["a", "c"]):
        if own or not topics or topics == ["c"]:
            with pytest.raises(ForbiddenError):
                await gate.authorize(asking(), "write", "x", topics)
    assert (await gate.authorize(asking(), "read", "x")).topics == frozenset("ab")
    assert (await gate.authorize(asking(), "cancel", "x")).topics == frozenset("ab")


async def test_a_check_that_leaves_all_topics_changes_nothing() -> None:
    async def check(access: Access) -> Grant:
        return access.grant.narrowed(subject="ann")

    gate = authority(jwt_secret=Secret(SECRET), check=check)
    for topics in ([], ["a"]):
        grant = await gate.authorize(request(token=token(streams=DO_ALL)), "write", "x", topics)
        assert grant.may_touch_all
