"""An activity that streams a completion from a language model to the stream of its workflow.

An attempt that dies half-way leaves half an answer on the stream. Nothing here has to clean up:
as the next attempt enters `async with`, the stream supersedes what the earlier one wrote, and
readers are told to take it back (`Rewind`). A dead attempt that comes back late cannot write any
more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from llm_shared import LLMInput, RetryEvent, TextComplete, TextDelta
from openai import APIStatusError, AsyncOpenAI
from temporalio import activity
from temporalio.exceptions import ApplicationError

from workflow_streams import WorkflowStreamClient

# Asking again does not help with these: bad request, bad key, no permission, no such model.
FINAL_STATUS_CODES = {400, 401, 403, 404, 422}


@dataclass
class LLMActivities:
    """The activity and the provider that it talks to."""

    openai: AsyncOpenAI

    @activity.defn
    async def stream_completion(self, question: LLMInput) -> str:
        """Publish the answer piece by piece, and return it whole."""
        stream = WorkflowStreamClient.from_within_activity()
        delta = stream.topic("delta", type=TextDelta)
        complete = stream.topic("complete", type=TextComplete)
        retry = stream.topic("retry", type=RetryEvent)
        pieces: list[str] = []
        async with heartbeats(), stream:
            attempt = activity.info().attempt
            if attempt > 1:
                retry.publish(RetryEvent(attempt), force_flush=True)
            async with contextlib.aclosing(self.ask(question)) as texts:
                async for text in texts:
                    pieces.append(text)
                    delta.publish(TextDelta(text))
            complete.publish(TextComplete("".join(pieces)))
        return "".join(pieces)

    async def ask(self, question: LLMInput) -> AsyncGenerator[str, None]:
        """Yield the model's answer as it comes.

        Retries are Temporal's business, so the `openai` client is to make none: a retry inside
        of it would be invisible to the readers.
        """
        try:
            completion = await self.openai.chat.completions.create(
                model=question.model,
                messages=[{"role": "user", "content": question.prompt}],
                stream=True,
            )
        except APIStatusError as error:
            final = error.status_code in FINAL_STATUS_CODES
            raise ApplicationError(
                str(error), type=type(error).__name__, non_retryable=final
            ) from error
        async with completion:
            async for chunk in completion:
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    yield text


@contextlib.asynccontextmanager
async def heartbeats(seconds: float = 1) -> AsyncIterator[None]:
    """Heartbeat as long as the block runs, also while the model thinks before its first token."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(seconds)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait([beating])
