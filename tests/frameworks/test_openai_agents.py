"""OpenAI Agents by Temporal's plugin: a retried model call takes back what it has streamed."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from agents import Model, ModelProvider, ModelResponse
from agents.items import TResponseStreamEvent
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseCreatedEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
)
from temporalio import activity
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.openai_agents import OpenAIAgentsPlugin

from workflow_streams.testing.fixtures import StreamServer

from .reading import Line, played

QUICKLY = RetryPolicy(initial_interval=timedelta(milliseconds=10))


class Scripted(Model, ModelProvider):
    """A model that breaks off in its first answer."""

    def get_model(self, model_name: str | None) -> Model:
        return self

    async def get_response(self, *args: Any, **named: Any) -> ModelResponse:
        raise NotImplementedError

    async def stream_response(
        self, *args: Any, **named: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        attempt = activity.info().attempt
        words = [f"{attempt}a ", f"{attempt}b ", f"{attempt}c"]
        yield ResponseCreatedEvent(response=response(), sequence_number=0, type="response.created")
        for number, word in enumerate(words, 1):
            yield ResponseTextDeltaEvent(
                content_index=0,
                delta=word,
                item_id="message",
                logprobs=[],
                output_index=0,
                sequence_number=number,
                type="response.output_text.delta",
            )
            if attempt == 1 and number == 2:
                raise ConnectionError("broken off")
        yield ResponseCompletedEvent(
            response=response("".join(words)), sequence_number=4, type="response.completed"
        )


def response(text: str | None = None) -> Response:
    content = (
        [] if text is None else [ResponseOutputText(text=text, type="output_text", annotations=[])]
    )
    message = ResponseOutputMessage(
        id="message", content=list(content), role="assistant", status="completed", type="message"
    )
    return Response(
        id="response",
        created_at=0,
        model="scripted",
        object="response",
        output=[] if text is None else [message],
        parallel_tool_calls=False,
        tool_choice="auto",
        tools=[],
    )


def brief(line: Line) -> Line:
    """A line with the event's text or type only."""
    match line:
        case (int(offset), {"type": kind, **event}):
            return offset, event.get("delta", kind.removeprefix("response."))
    return line


async def lines_of(client: Client, reader: Client, name: str, module: Any) -> list[Line]:
    lines = await played(
        client, name, module.Assistant.run, "?", reader=reader, workflows=[module.Assistant]
    )
    assert await client.get_workflow_handle(name).result() == "2a 2b 2c"
    return [brief(line) for line in lines]


async def test_a_retried_answer_takes_the_first_one_back(
    stream_server: StreamServer,
    client: Client,
    unique: Any,
    assistant: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Traces would be sent to OpenAI.
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "true")
    module = assistant("openai_assistant")
    calls = dataclasses.replace(module.MODEL_CALLS, retry_policy=QUICKLY)
    plugin = OpenAIAgentsPlugin(model_params=calls, model_provider=Scripted())
    with_plugins = await stream_server.connect(plugins=[plugin])
    assert await lines_of(with_plugins, client, unique("openai"), module) == [
        *enumerate(["created", "1a ", "1b "]),
        ("rewind", [(0, 3)], "attempt", 3),
        *enumerate(["created", "2a ", "2b ", "2c", "completed"], 3),
        ("end", "completed", 8),
    ]
    without = await Client.connect(stream_server.address, plugins=[plugin])
    assert await lines_of(without, client, unique("plain"), module) == [
        *enumerate(["created", "1a ", "1b ", "created", "2a ", "2b ", "2c", "completed"]),
        ("end", "completed", 8),
    ]
