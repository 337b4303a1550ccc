"""What viewers share is bounded by all that it holds, whatever they filter and however they lag."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from temporalio.client import Client

from tests.gateway.http.events import Event
from tests.gateway.http.test_events import follow
from tests.gateway.security.wire import serving
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.gateway.reading import shared_frames
from workflow_streams.gateway.reading.shared_frames import Frame, SharedFrames
from workflow_streams.log.payloads import JSON_KIND
from workflow_streams.log.wire import Entry

MEBIBYTE = 1024 * 1024
EMPTY = Frame(b"", 0)


class Entries(list[Entry]):
    """A list that can be watched."""


def entries_of(topic: str, data: bytes, count: int = 1, *, kind: bytes = JSON_KIND) -> Entries:
    return Entries([(topic, kind, data)] * count)


@pytest.mark.parametrize(
    "entries",
    [
        lambda: entries_of("y", b"x" * MEBIBYTE),
        lambda: entries_of("y" * MEBIBYTE, b""),
        lambda: entries_of("y", b"", kind=b"k" * MEBIBYTE),
        lambda: entries_of("y", b"", 20_000),
    ],
    ids=["large items", "large topics", "large kinds", "many items"],
)
def test_frames_without_items_do_not_keep_the_stream(entries: Callable[[], Entries]) -> None:
    frames = SharedFrames(8 * MEBIBYTE)
    seen: list[weakref.ref[Entries]] = []
    for _ in range(100):
        held = entries()
        seen.append(weakref.ref(held))
        assert frames.get(held, "topic x", lambda: EMPTY) is EMPTY
        del held
        assert frames.size <= 8 * MEBIBYTE
    assert sum(ref() is not None for ref in seen) <= 8
    assert seen[-1]() is not None


def test_viewers_of_many_topics_share_the_items_whose_frames_they_do_not() -> None:
    frames = SharedFrames(2 * MEBIBYTE)
    held = entries_of("y", b"x" * MEBIBYTE)
    made: list[int] = []

    def get(entries: Entries, viewer: int, frame: Frame) -> None:
        def make() -> Frame:
            made.append(viewer)
            return frame

        frames.get(entries, viewer, make)

    for viewer in [*range(1000), *range(1000)]:
        get(held, viewer, EMPTY)
    assert made == list(range(1000))
    for _ in range(10):
        held = entries_of("y", b"x" * MEBIBYTE)
        for viewer in range(5_000):
            get(held, viewer, Frame(b"z" * 1000, 1))
            assert frames.size <= 2 * MEBIBYTE


def test_the_topics_that_viewers_ask_for_count_as_well() -> None:
    frames = SharedFrames(2 * MEBIBYTE)
    held = entries_of("y", b"x")
    for viewer in range(200):
        topics = frozenset(f"{viewer} {number} ".ljust(100, "t") for number in range(500))
        frames.get(held, ("items", topics, 0), lambda: EMPTY)
        assert frames.size <= 2 * MEBIBYTE
    kept = sum(len(shared.frames) for shared in frames._shared.values())
    assert kept * 500 * 100 <= 2 * MEBIBYTE


def test_what_is_larger_than_all_room_is_still_made_once() -> None:
    frames = SharedFrames(MEBIBYTE)
    for _ in range(3):
        held = entries_of("y", b"x" * 3 * MEBIBYTE)
        made = [frames.get(held, "all", lambda: Frame(b"new", 1)) for _ in range(5)]
        assert all(frame is made[0] for frame in made)
        assert len(frames) == 1


async def test_a_viewer_of_a_silent_topic_costs_no_more_than_the_room_for_frames(
    client: Client,
    unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_frames, "MAX_BYTES", MEBIBYTE)
    app = create_app(client, GatewaySettings(host_task_queue=unique("queue")))
    frames = app.state.gateway.frames
    async with serving(app, lifespan="on") as port, httpx.AsyncClient(timeout=100) as http:
        url = f"http://127.0.0.1:{port}/v1/stream/{unique('stream')}"
        await http.put(url, headers={"content-type": "application/json"})
        async with follow(http, url, "now", params={"topic": "x"}) as viewer:
            events = viewer.events()
            assert (await anext(events)).json["upToDate"]
            for _ in range(12):
                sent = await http.post(url, params={"topic": "y"}, json="y" * 300_000)
                assert sent.status_code == 204
            sent = await http.post(url, params={"topic": "x"}, json="for it")
            assert await data_event(events) == ["for it"]
            assert 0 < frames.size <= MEBIBYTE


async def data_event(events: AsyncIterator[Event]) -> object:
    async for event in events:
        if event.kind == "data":
            return event.json
    raise AssertionError("the stream ended")
