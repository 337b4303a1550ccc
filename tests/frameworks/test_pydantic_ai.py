"""Pydantic AI's durable agents: a retried model call takes back what it has streamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_ai.durable_exec.temporal import PydanticAIPlugin
from temporalio.client import Client

from workflow_streams.testing.fixtures import StreamServer

from .reading import Line, played

MODEL = {
    "from temporalio import workflow": (
        "from temporalio import workflow\nfrom tests.frameworks.scripted_pydantic import MODEL"
    ),
    '"openai:gpt-5-mini"': "MODEL",
}


def brief(line: Line) -> Line:
    """A line with the event's text or kind only."""
    match line:
        case (int(offset), {"event_kind": "part_start", "part": {"content": text}}):
            return offset, text
        case (int(offset), {"event_kind": "part_delta", "delta": {"content_delta": text}}):
            return offset, text
        case (int(offset), {"event_kind": kind}):
            return offset, kind
    return line


async def lines_of(client: Client, reader: Client, name: str, module: Any) -> list[Line]:
    lines = await played(
        client, name, module.Assistant.run, "?", reader=reader, workflows=[module.Assistant]
    )
    assert await client.get_workflow_handle(name).result() == "2a2b2c"
    return [brief(line) for line in lines]


async def test_a_retried_answer_takes_the_first_one_back(
    stream_server: StreamServer, client: Client, unique: Any, assistant: Callable[..., Any]
) -> None:
    module = assistant("pydantic_assistant", MODEL)
    with_plugins = await stream_server.connect(plugins=[PydanticAIPlugin()])
    first = ["1a", "final_result", "1b"]
    second = ["2a", "final_result", "2b", "2c", "part_end", "agent_run_result"]
    assert await lines_of(with_plugins, client, unique("pydantic"), module) == [
        *enumerate(first),
        ("rewind", [(0, 3)], "attempt", 3),
        *enumerate(second, 3),
        ("end", "completed", 9),
    ]
    without = await Client.connect(stream_server.address, plugins=[PydanticAIPlugin()])
    assert await lines_of(without, client, unique("plain"), module) == [
        *enumerate(first + second),
        ("end", "completed", 9),
    ]
