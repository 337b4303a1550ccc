"""Writes to streams that the contrib hosts: one signal each, with the contrib's fields only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
from temporalio.client import Client, WorkflowHandle

from workflow_streams.log import wire

from .hosts import hosting
from .serving import GatewayProcess

Unique = Callable[[str], str]
CONTRIB_FIELDS = {"items", "publisher_id", "sequence"}


async def batches(handle: WorkflowHandle[Any, Any]) -> list[dict[str, Any]]:
    """Return the publish signals in a workflow's history."""
    found: list[dict[str, Any]] = []
    async for event in handle.fetch_history_events():
        signal = event.workflow_execution_signaled_event_attributes
        if signal.signal_name == wire.PUBLISH_SIGNAL:
            found.append(json.loads(signal.input.payloads[0].data))
    return found


async def test_what_fits_in_a_signal_is_taken_and_what_does_not_is_too_large(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("contrib")
    async with hosting(client, "ContribTalks", name) as handle:
        url = gateway.stream(name)
        # In base64 these are 2 MiB, less the little that a signal's envelope takes, and more.
        sizes = {800_000: 202, 1_000_000: 202, 1_572_000: 202, 1_573_000: 413, 5_000_000: 413}
        for size, status in sizes.items():
            answer = await http.post(url, json="x" * size)
            assert answer.status_code == status, (size, answer.text)
            if status == 413:
                assert answer.headers["content-type"] == "application/problem+json"
                assert "one signal" in answer.json()["detail"]
        taken = [size for size, status in sizes.items() if status == 202]
        while (head := await handle.query(wire.OFFSET_QUERY, result_type=int)) < 1 + len(taken):
            await asyncio.sleep(0.02)
        assert head == 1 + len(taken)
        sent = await batches(handle)
        assert [len(batch["items"]) for batch in sent] == [1] * len(taken)
        assert all(batch.keys() == CONTRIB_FIELDS for batch in sent)
        shown: list[dict[str, Any]] = []
        while len(shown) < head:
            answer = await http.get(url, params={"offset": f"{len(shown):020d}"})
            shown += answer.json()
        assert [len(item["data"]) for item in shown[1:]] == taken
