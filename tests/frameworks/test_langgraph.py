"""LangGraph by Temporal's plugin: a retried node takes back what it has written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.langgraph import LangGraphPlugin

from workflow_streams.testing.fixtures import StreamServer

from .reading import Line, played


async def scripted(question: str) -> AsyncIterator[str]:
    """Break off in the first answer."""
    attempt = activity.info().attempt
    for word in ("a", "b", "c"):
        if attempt == 1 and word == "c":
            raise ConnectionError("broken off")
        yield f"{attempt}{word}"


async def lines_of(client: Client, reader: Client, name: str, module: Any) -> list[Line]:
    lines = await played(
        client, name, module.Assistant.run, "?", reader=reader, workflows=[module.Assistant]
    )
    assert await client.get_workflow_handle(name).result() == "2a2b2c (signed)"
    return lines


async def test_a_retried_node_takes_back_what_it_wrote_and_nodes_in_the_workflow_write_too(
    stream_server: StreamServer,
    client: Client,
    unique: Any,
    assistant: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = assistant("langgraph_assistant")
    monkeypatch.setattr(module, "words_of_a_model", scripted)

    # The plugin changes the graph that it is given.
    def plugin() -> LangGraphPlugin:
        return LangGraphPlugin(graphs={"assistant": module.assistant()}, streaming_topic="graph")

    with_plugins = await stream_server.connect(plugins=[plugin()])
    assert await lines_of(with_plugins, client, unique("graph"), module) == [
        *enumerate(["1a", "1b"]),
        ("rewind", [(0, 2)], "attempt", 2),
        *enumerate(["2a", "2b", "2c", "signed"], 2),
        ("end", "completed", 6),
    ]
    without = await Client.connect(stream_server.address, plugins=[plugin()])
    assert await lines_of(without, client, unique("plain"), module) == [
        *enumerate(["1a", "1b", "2a", "2b", "2c", "signed"]),
        ("end", "completed", 6),
    ]
