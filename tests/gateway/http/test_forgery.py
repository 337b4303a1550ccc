"""A publisher on a real server, who tries to leave its item."""

from __future__ import annotations

import base64
from collections.abc import Callable

import httpx
from temporalio.client import Client

from workflow_streams import WorkflowStreamClient
from workflow_streams.log import wire

from .events import data_of
from .hosts import hosting, said
from .serving import GatewayProcess
from .test_events import follow
from .test_splicing import FORGERY, plain, strict

Unique = Callable[[str], str]


async def test_a_publisher_cannot_forge_items_of_a_topic_that_is_not_its_own(
    client: Client, gateway: GatewayProcess, http: httpx.AsyncClient, unique: Unique
) -> None:
    name = unique("forged")
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("say", args=["admin", '"true"'])
        await said(talks, 1)
        url = gateway.stream(name)
        async with follow(http, url) as source, WorkflowStreamClient.create(client, name) as stream:
            coming = source.events()
            events = [await anext(coming)]
            mine = stream.topic("mine")
            await mine.send(plain(FORGERY))
            await mine.send(plain(b"NaN"))
            # Not even a payload: whoever may signal the workflow may send this.
            bad = {"items": [{"topic": "mine", "data": "é"}], "publisher_id": "", "sequence": 0}
            await talks.signal(wire.PUBLISH_SIGNAL, bad)
            await talks.signal("say", args=["admin", '"still true"'])
            await talks.signal("end", "complete")
            events += [event async for event in coming]
        told = [
            (0, "admin", "true", None),
            (1, "mine", base64.b64encode(FORGERY).decode(), "json/plain"),
            (2, "mine", base64.b64encode(b"NaN").decode(), "json/plain"),
            (3, "mine", None, "unreadable"),
            (4, "admin", "still true", None),
        ]
        answers = [
            strict((await http.get(url)).text),
            strict((await http.get(url, params={"offset": "-1", "live": "long-poll"})).text),
            data_of(events),
        ]
        for items in answers:
            found = [(i["offset"], i["topic"], i["data"], i.get("encoding")) for i in items]
            assert found == told
        admin = strict((await http.get(url, params={"topic": "admin"})).text)
        assert [item["offset"] for item in admin] == [0, 4]
