"""Publishes values, and says what became of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.common.v1 import Payload

from ... import WorkflowStreamClient
from ...errors import PublishError, UsageError, WorkflowStreamError
from ...log import wire
from ...log.entries import entry_bytes, entry_of
from ...log.payloads import json_payload
from ..exits import Exit
from ..lines import Lines, chunks
from ..output import Output, is_terminal, say
from ..session import ActionError, cancel_on, status_of
from .connection import open_client
from .payloads import json_text

_MOST_AT_ONCE = 5_000
_TOO_LONG = "too long: an item may take nearly 2 MiB encoded, 1.4 MB as it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """What to publish, and where; ``value`` is None for the lines of standard input."""

    workflow_id: str
    topic: str
    value: str | None
    as_json: bool
    offsets: bool
    timeout_seconds: float


async def publish(wanted: Publish) -> int:
    """Publish, and return the exit status.

    Raises:
        ActionError: Something was not delivered.
    """
    cancel_on(signal.SIGTERM)
    only = None
    if wanted.value is not None:
        try:
            only = _payload(os.fsencode(wanted.value), wanted.topic, as_json=wanted.as_json)
        except ValueError as err:
            raise ActionError(f"VALUE is {err}", Exit.USAGE) from err
    client = await open_client()
    patience = timedelta(seconds=wanted.timeout_seconds)
    stream = WorkflowStreamClient.create(client, wanted.workflow_id, max_retry_duration=patience)
    sender = _Sender(stream, wanted.topic, Output() if wanted.offsets else None)
    try:
        async with stream:
            if only is not None:
                await sender.send([only])
            else:
                await _send_lines(sender, wanted)
    except asyncio.CancelledError as err:
        notes = "".join(f"; {note}" for note in getattr(err, "__notes__", ()))
        say(f"interrupted; at least {sender.delivered} item(s) were delivered{notes}")
        raise
    return Exit.DONE


async def _send_lines(sender: _Sender, wanted: Publish) -> None:
    if sys.stdin is None:
        raise ActionError("standard input is closed", Exit.USAGE)
    if is_terminal(sys.stdin) and is_terminal(sys.stderr):
        say("each line is published; Ctrl-D ends the input")
    lines, number = Lines(wire.MAX_ITEM_BYTES), 0
    async with aclosing(chunks(sys.stdin.fileno())) as arriving:
        async for chunk in arriving:
            payloads: list[Payload] = []
            fault = None
            for line in lines.feed(chunk):
                number += 1
                if wanted.as_json and not line.strip():
                    continue
                try:
                    payloads.append(_payload(line, wanted.topic, as_json=wanted.as_json))
                except ValueError as err:
                    fault = f"line {number} is {err}"
                    break
            if fault is None and lines.overlong:
                fault = f"line {number + 1} is {_TOO_LONG}"
            for start in range(0, len(payloads), _MOST_AT_ONCE):
                await sender.send(payloads[start : start + _MOST_AT_ONCE])
            if fault is not None:
                raise ActionError(f"{fault}; {sender.so_far}", Exit.UNDELIVERED)


class _Sender:
    """Publishes on one topic, and counts what the server has accepted."""

    def __init__(self, stream: WorkflowStreamClient, topic: str, offsets: Output | None) -> None:
        """Publish on ``topic``; write each item's offset to ``offsets``, if that is not None."""
        self._stream = stream
        self._topic = stream.topic(topic)
        self._offsets = offsets
        self.delivered = 0

    @property
    def so_far(self) -> str:
        """What has been delivered so far, in words."""
        return f"the {self.delivered} item(s) before it were delivered"

    async def send(self, payloads: list[Payload]) -> None:
        """Publish, and wait until the server has accepted everything."""
        try:
            if self._offsets is not None:
                await self._send_one_by_one(payloads, self._offsets)
                return
            for payload in payloads:
                self._topic.publish(payload)
            await self._stream.flush()
        except PublishError as err:
            raise self._failure(err) from err
        self.delivered += len(payloads)

    async def _send_one_by_one(self, payloads: list[Payload], output: Output) -> None:
        if not self.delivered:
            # The first item finds out what hosts the stream, so that the others keep their order.
            await self._send_and_tell(payloads[:1], output)
            payloads = payloads[1:]
        await self._send_and_tell(payloads, output)

    async def _send_and_tell(self, payloads: list[Payload], output: Output) -> None:
        sent = await asyncio.gather(
            *(self._topic.send(payload) for payload in payloads), return_exceptions=True
        )
        offsets = [result for result in sent if isinstance(result, int)]
        self.delivered += len(offsets)
        output.write("".join(f"{offset}\n" for offset in offsets))
        failures = [result for result in sent if isinstance(result, BaseException)]
        if failures:
            raise self._failure(failures[0], len(failures))

    def _failure(self, error: BaseException, count: int = 0) -> BaseException:
        match error:
            case UsageError():
                return ActionError(
                    "only streams that workflow_streams hosts tell the offset; leave out --offset",
                    Exit.USAGE,
                )
            case PublishError():
                reason = status_of(error.__cause__) if error.__cause__ is not None else Exit.FAULT
                nothing_there = not self.delivered and reason != Exit.FAULT
                status = reason if nothing_there else Exit.UNDELIVERED
                before = f" ({self.delivered} before it were)" if self.delivered else ""
                return ActionError(f"{error}{before}", status)
            case WorkflowStreamError():
                return ActionError(f"{count} item(s) were not delivered: {error}", Exit.UNDELIVERED)
            case _:
                return error


def _payload(data: bytes, topic: str, *, as_json: bool) -> Payload:
    """Return the payload of a value; raise ValueError that says what is wrong with the value."""
    if as_json:
        payload = json_payload(json_text(data).encode())
    else:
        try:
            payload = json_payload(json.dumps(data.decode()).encode())
        except UnicodeDecodeError as err:
            raise ValueError(f"not UTF-8: {err}") from err
    suspicious = len(payload.data) + len(topic) > wire.MAX_ITEM_BYTES // 8
    if suspicious and entry_bytes(*entry_of(topic, payload)) > wire.MAX_ITEM_BYTES:
        raise ValueError(_TOO_LONG)
    return payload
