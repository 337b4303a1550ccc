"""A model for Pydantic AI that breaks off in its first answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel
from temporalio import activity


async def _answer(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
    attempt = activity.info().attempt
    for word in ("a", "b", "c"):
        if attempt == 1 and word == "c":
            raise ConnectionError("broken off")
        yield f"{attempt}{word}"


MODEL = FunctionModel(stream_function=_answer)
