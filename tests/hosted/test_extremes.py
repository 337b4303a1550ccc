"""What cannot be is refused with an error of this package that names the argument."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest
from temporalio.client import Client, WorkflowHandle

from workflow_streams import (
    InvalidCountError,
    InvalidOffsetError,
    UsageError,
    WorkflowStreamClient,
    close_stream,
    create_stream,
    delete_stream,
)
from workflow_streams.hosted import host_worker

from .test_unfinished import serving

Unique = Callable[[str], str]
HALF = "\ud800"
NO_TEXTS: list[Any] = [HALF, f"a{HALF}b", "", None, 5, b"bytes"]


def at(year: int, hours: float = 0) -> datetime:
    last = year == 9999
    month, day, hour = (12, 31, 23) if last else (1, 1, 0)
    return datetime(year, month, day, hour, tzinfo=timezone(timedelta(hours=hours)))


@pytest.mark.parametrize(
    "expires_at",
    [
        at(1),
        at(1, 14),
        at(1, -14),
        at(9999, -12),
        datetime(1, 1, 1),
        datetime(9999, 12, 31, 23, 59, 59, 999999),
        at(2020),
        at(2020, 23.99),
        "2100-01-01T00:00:00Z",
        2**63,
    ],
)
async def test_a_time_that_is_over_or_is_none_is_refused(expires_at: Any) -> None:
    with pytest.raises(UsageError, match="expires_at"):
        await create_stream(cast("Client", None), "news", expires_at=expires_at)


@pytest.mark.parametrize("ttl", [timedelta.min, timedelta(0), timedelta(microseconds=1), 2**70])
async def test_a_time_to_live_is_at_least_a_second(ttl: Any) -> None:
    with pytest.raises(UsageError, match="ttl"):
        await create_stream(cast("Client", None), "news", ttl=ttl)


async def test_the_furthest_times_are_kept(client: Client, unique: Unique, queue: str) -> None:
    for lifetime in (
        {"ttl": timedelta.max},
        {"expires_at": at(9999)},
        {"expires_at": at(9999, 14)},
    ):
        name = unique("news")
        asked: dict[str, Any] = {**lifetime, "initial": [1], "task_queue": queue}
        if lifetime == {"ttl": timedelta.max}:
            asked["ttl"] = timedelta(days=timedelta.max.days)
        assert (await create_stream(client, name, **asked)).is_new
        assert not (await create_stream(client, name, **asked)).is_new
        await delete_stream(client, name, task_queue=queue)


@pytest.mark.parametrize("text", NO_TEXTS)
async def test_names_and_task_queues_are_texts(text: Any) -> None:
    client = cast("Client", None)
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("name", lambda: create_stream(client, text)),
        ("name", lambda: close_stream(client, text)),
        ("name", lambda: delete_stream(client, text)),
        ("task_queue", lambda: create_stream(client, "news", task_queue=text)),
        ("task_queue", lambda: delete_stream(client, "news", task_queue=text)),
    ]
    if text is not None:
        calls.append(("forked_from", lambda: create_stream(client, "news", forked_from=text)))
    for parameter, call in calls:
        with pytest.raises(UsageError, match=parameter):
            await call()
    with pytest.raises(UsageError, match="task_queue"):
        host_worker(client, task_queue=text)


@pytest.mark.parametrize("text", NO_TEXTS)
async def test_a_client_is_for_a_workflow_id(client: Client, text: Any) -> None:
    with pytest.raises(UsageError, match="workflow_id"):
        WorkflowStreamClient.create(client, text)
    handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(text)
    with pytest.raises(UsageError, match="workflow_id"):
        WorkflowStreamClient(handle)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"content_type": HALF}, "content type"),
        ({"content_type": f"text/{HALF}"}, "content type"),
        ({"content_type": 5}, "content_type"),
        ({"content_type": b"text/plain"}, "content_type"),
        ({"topic": 5}, "topic"),
        ({"initial": None}, "initial"),
        ({"initial": 5}, "initial"),
        ({"forked_from": "source", "fork_offset": 2**63}, "Offset"),
        ({"forked_from": "source", "fork_offset": 10**400}, "Offset"),
    ],
)
async def test_other_arguments_are_named(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises((UsageError, InvalidOffsetError), match=error):
        await create_stream(cast("Client", None), "news", **arguments)


async def test_readers_and_counts(client: Client) -> None:
    stream = WorkflowStreamClient.create(client, "news")
    for offset in (2**63, 10**400, -1, True, 1.0):
        with pytest.raises(InvalidOffsetError):
            stream.follow(from_offset=cast("int", offset))
    for topics in (5, 1.5, object()):
        with pytest.raises(UsageError, match="topics"):
            stream.follow(cast("Any", topics))
    for parameter in ("max_batch_size", "max_buffer_items", "max_buffer_bytes"):
        for count in (0, -1, 1.5, True, "1"):
            with pytest.raises(InvalidCountError, match=parameter) as wrong:
                WorkflowStreamClient.create(client, "news", **{parameter: cast("Any", count)})
            assert isinstance(wrong.value, ValueError)
            assert (wrong.value.parameter, wrong.value.number) == (parameter, count)


@pytest.mark.parametrize(
    "headers",
    [
        {"stream-expires-at": "2020-01-01T00:00:00Z"},
        {"stream-expires-at": "0001-01-01T00:00:00+14:00"},
        {"stream-expires-at": "0001-01-01T00:00:00-14:00"},
        {"stream-expires-at": "9999-12-31T23:59:59-12:00"},
        {"stream-expires-at": "9999-12-31T23:59:60Z"},
        {"stream-expires-at": "9" * 5000},
        {"stream-ttl": "9" * 400},
        {"stream-ttl": str(2**53)},
        {"stream-ttl": "-1"},
        {"stream-ttl": "1e3"},
        {"stream-ttl": b"\xb2"},
        {"content-type": b"text/\xff"},
        {"content-type": "text/" + "x" * 5000},
        {"content-type": b"\xed\xa0\x80"},
        {"stream-forked-from": "/v1/stream/%ED%A0%80"},
        {"stream-forked-from": "/v1/stream/" + "x" * 5000},
        {"stream-forked-from": "/v1/stream/source", "stream-fork-offset": "9" * 400},
        {"stream-forked-from": "/v1/stream/source", "stream-fork-sub-offset": "9" * 400},
        {"producer-id": "p", "producer-epoch": "9" * 400, "producer-seq": "0"},
        {"producer-id": "p" * 5000, "producer-epoch": "0", "producer-seq": "0"},
        {"stream-seq": "s" * 5000},
    ],
    ids=str,
)
async def test_a_request_is_answered_by_400(
    client: Client, unique: Unique, queue: str, headers: dict[str, str | bytes]
) -> None:
    is_post = "stream-seq" in headers or "producer-id" in headers
    sent = {"content-type": "application/json", **headers}
    async with serving(client, queue, open_seconds=10) as http:
        url = f"/v1/stream/{unique('news')}"
        if is_post:
            assert (await http.put(url, headers={"content-type": "application/json"})).is_success
        answer = await http.request(
            "POST" if is_post else "PUT", url, headers=cast("Any", sent), content=b"1"
        )
        assert answer.status_code == 400, answer.text
        assert answer.json()["type"].startswith("urn:workflow-streams:")
        if "stream-expires-at" in headers:
            assert "Stream-Expires-At" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["%ED%A0%80", "%FF", "%00", "a" * 1500, "%E2%82"])
async def test_an_id_that_cannot_be_is_answered_by_400(
    client: Client, queue: str, path: str
) -> None:
    async with serving(client, queue, open_seconds=10) as http:
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            answer = await http.request(method, f"/v1/stream/{path}", content=b"1")
            assert answer.status_code in (400, 404), (method, answer.text)
