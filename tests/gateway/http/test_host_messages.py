"""A host of a stream made by PUT goes on whatever messages it is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowUpdateFailedError

from workflow_streams.hosted.host import (
    DELETE_UPDATE,
    FORK_GONE_SIGNAL,
    FORK_SIGNAL,
    FORK_UPDATE,
    FORKS_GONE_SIGNAL,
    NOT_A_WORKFLOW_ID,
    TOUCH_SIGNAL,
)
from workflow_streams.log import wire

from .serving import GatewayProcess
from .test_writes import TEXT, replay

ODD: list[list[Any]] = [[], ["a", "b"], [["a"]], [1], [None], ["\ud800"], [{"a": 1}], ["a", 1, 2]]


async def test_messages_with_odd_arguments_are_refused_or_ignored(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("stream")
    url = gateway.stream(name)
    assert (await http.put(url, headers=TEXT)).status_code == 201
    handle = client.get_workflow_handle(name)
    assert await handle.execute_update(FORK_UPDATE, "fork", result_type=bool)
    for arguments in ODD:
        for signal in (FORK_GONE_SIGNAL, FORKS_GONE_SIGNAL, wire.PUBLISH_SIGNAL):
            await handle.signal(signal, args=arguments)
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update(FORK_UPDATE, args=arguments)
        assert getattr(refused.value.cause, "type", "") in (NOT_A_WORKFLOW_ID, "RuntimeError")
        await handle.signal(TOUCH_SIGNAL, args=arguments)
        if not (len(arguments) == 1 and isinstance(arguments[0], str)):
            await handle.signal(FORK_SIGNAL, args=arguments)
    for arguments in ([1, [2, None, ["fork"], "\ud800"]], [0, ["fork"]], [True, "fork"]):
        await handle.signal(FORKS_GONE_SIGNAL, args=arguments)
    for arguments in ([], ["a", "b"], [1]):
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(wire.POLL, args=arguments)
    assert (await http.post(url, headers=TEXT, content="still")).status_code == 204
    # The one fork is still known, so that the source does not go.
    assert await handle.execute_update(DELETE_UPDATE, args=["x"], result_type=bool)
    await handle.signal(FORK_GONE_SIGNAL, "fork")
    await handle.result()
    await replay(client, name)
