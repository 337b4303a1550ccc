"""Follows a stream, and writes what comes."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

from ...events import End
from ...read.arrival import wait_for_workflow
from ...read.feeds.feed import Feed
from ...read.feeds.lookup import feed_of
from ...read.runs.source import WorkflowSource
from ...read.starts import Start, start_after_waiting
from ...read.until import ToHead
from ...read.walk import Walk
from ..exits import Exit
from ..output import Output, say
from .connection import open_client
from .progress import CatchUp
from .rendering import AsJson, AsText


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
    to_head = None if wanted.follow else ToHead()
    walk = Walk(feed_of(WorkflowSource(client, *workflow)), start, to_head)
    catch_up = CatchUp(walk, beside_items=not output.apart)
    with output.watched():
        async with aclosing(walk.steps()) as steps, catch_up.shown():
            async for step in steps:
                if isinstance(renderer, AsText):
                    renderer.bytes_are_text = _holds_text(walk.feed)
                text = renderer.render(step)
                if text:
                    catch_up.wrote()
                    output.write(text)
                if isinstance(step, End):
                    return Exit.of_outcome(step.outcome)
    if to_head is not None and to_head.unopened:
        say("no worker has opened the stream yet")
    return Exit.DONE


def _holds_text(feed: Feed) -> bool:
    rules = feed.view.rules
    return rules is not None and rules.content_type.lower().startswith("text/")
