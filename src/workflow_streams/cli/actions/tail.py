"""Follows a stream and writes what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from ...events import End
from ...read.arrival import wait_for_workflow
from ...read.feeds.feed import Feed
from ...read.feeds.lookup import feed_of
from ...read.tip import wait_for_tip
from ...read.walk import Start, Step, Walk, start_after_waiting
from ..exits import Exit
from ..output import Output, say
from .connection import open_client
from .progress import CatchUp
from .rendering import AsJson, AsText

_LOOK_AGAIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What to follow, and how to show it; see the command's options."""

    workflow_id: str
    run_id: str | None
    topics: list[str]
    start: Start
    follow: bool
    wait_seconds: float
    as_json: bool
    timestamps: bool


async def tail(wanted: Tail) -> int:
    """Write the stream's items until its end, or to its head; return the exit status."""
    output = Output()
    renderer: AsJson | AsText = (
        AsJson(wanted.topics)
        if wanted.as_json
        else AsText(wanted.topics, output.style, timestamps=wanted.timestamps)
    )
    client = await open_client()
    start, workflow = wanted.start, (wanted.workflow_id, wanted.run_id)
    if wanted.wait_seconds and await wait_for_workflow(client, *workflow, wanted.wait_seconds):
        start = start_after_waiting(start)
    walk = Walk(feed_of(client, *workflow), start)
    steps = walk.steps() if wanted.follow else _to_head(walk)
    catch_up = CatchUp(walk, beside_items=not output.apart)
    with output.watched():
        async with aclosing(steps), catch_up.shown():
            async for step in steps:
                if isinstance(renderer, AsText):
                    renderer.bytes_are_text = _holds_text(walk.feed)
                text = renderer.render(step)
                if text:
                    catch_up.wrote()
                    output.write(text)
                if isinstance(step, End):
                    return Exit.of_outcome(step.outcome)
    return Exit.DONE


def _holds_text(feed: Feed) -> bool:
    rules = feed.view.rules
    return rules is not None and rules.content_type.lower().startswith("text/")


async def _to_head(walk: Walk) -> AsyncGenerator[Step]:
    """Yield what stands in the stream now, without waiting for more."""
    # Beside the walk, which goes on meanwhile: a long history is not to be read twice.
    head = asyncio.create_task(_head(walk.feed), name="head")
    try:
        async with aclosing(walk.steps()) as steps:
            while True:
                step = asyncio.ensure_future(anext(steps, None))
                try:
                    if await _nothing_more(walk, head, step):
                        return
                    arrived = await step
                finally:
                    step.cancel()
                    await asyncio.wait([step])
                if arrived is None:
                    return
                yield arrived
    finally:
        head.cancel()
        await asyncio.wait([head])


async def _head(feed: Feed) -> int | None:
    """Return where the head is now; None if no worker has opened the stream yet."""
    described = await feed.describe()
    # The last two events may be those of a task that is being tried, and not stand for good.
    length = described.history_length - 2

    def known() -> bool:
        return feed.floor is not None or (
            feed.run_id == described.run_id and feed.view.seen_id >= length
        )

    await feed.wait(known)
    return None if feed.floor is None else await wait_for_tip(feed)


async def _nothing_more(
    walk: Walk, head: asyncio.Task[int | None], step: asyncio.Future[Step | None]
) -> bool:
    """Wait for the next step; return whether there is none because the head is reached."""
    await asyncio.sleep(0)  # a step that is ready comes now
    while not step.done():
        if head.done():
            offset = head.result()
            if offset is None:
                say("no worker has opened the stream yet")
                return True
            # Polled pages come as they come; of a history, all has been read.
            if walk.level and (walk.position >= offset or not walk.feed.view.polled):
                return True
        await asyncio.wait([step], timeout=_LOOK_AGAIN_SECONDS)
    return False
