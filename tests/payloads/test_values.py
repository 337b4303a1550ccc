"""Values of all kinds arrive as what they were, under whatever payload converter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from workflow_streams import Item, WorkflowStreamClient, errors
from workflow_streams.testing.fixtures import StreamServer

from .codecs import Coordinates, own_converter
from .hosts import Gallery, Place, Shop, take_order
from .models import NOTHING, ORDER, PICTURE, REPORT, Kind, Order, Report, Step


@asynccontextmanager
async def hosting(client: Client, name: str, host: Any) -> AsyncIterator[WorkflowStreamClient]:
    """Run a host; yield its stream once the worker has begun, and close it afterwards."""
    async with Worker(client, task_queue=name, workflows=[host], activities=[take_order]):
        handle = await client.start_workflow(host.run, id=name, task_queue=name)
        async with WorkflowStreamClient.create(client, name) as stream:
            await anext(stream.subscribe(result_type=RawValue))
            yield stream
        await handle.signal(host.close)
        await handle.result()


async def data_of(stream: WorkflowStreamClient, *topics: str, **how: Any) -> list[Any]:
    return [item.data async for item in stream.subscribe(topics, **how)]


async def test_pydantic_models_arrive_as_models(
    stream_server: StreamServer, unique: Callable[[str], str]
) -> None:
    name = unique("shop")
    client = await stream_server.connect(data_converter=pydantic_data_converter)
    async with hosting(client, name, Shop) as stream:
        orders = stream.subscribe("orders", 2, result_type=Order)
        assert await anext(orders) == Item("orders", ORDER, 2)
        assert await stream.topic("orders", type=Order).send(ORDER) == 3
    reader = WorkflowStreamClient.create(client, name)
    assert await data_of(reader, result_type=Order) == [ORDER] * 4
    orders_by_topic = reader.topic("orders", type=Order).subscribe()
    assert [item.data async for item in orders_by_topic] == [ORDER] * 4
    # Without a type, it is the JSON; this client has bound the topic, so another one reads.
    [first, *_] = await data_of(WorkflowStreamClient.create(client, name))
    assert first["lines"][0] == {"article": "tea", "count": 2}


async def test_a_client_made_from_a_handle_uses_the_converter_of_its_client(
    stream_server: StreamServer, unique: Callable[[str], str]
) -> None:
    name = unique("shop")
    client = await stream_server.connect(data_converter=pydantic_data_converter)
    async with hosting(client, name, Shop):
        handle = client.get_workflow_handle(name)
        async with WorkflowStreamClient(handle) as stream:
            offset = await stream.topic("orders", type=Order).send(ORDER)
        reader = WorkflowStreamClient(handle)
        orders = reader.subscribe("orders", offset, result_type=Order)
        assert await anext(orders) == Item("orders", ORDER, offset)


async def test_a_value_that_its_model_refuses_raises_with_its_offset_and_reading_goes_on(
    stream_server: StreamServer, unique: Callable[[str], str]
) -> None:
    name = unique("shop")
    client = await stream_server.connect(data_converter=pydantic_data_converter)
    async with hosting(client, name, Shop) as stream:
        await anext(stream.subscribe(from_offset=2))
        await stream.topic("orders").send({"order_id": "no date"})
        await stream.topic("orders").send(ORDER)
    reading = WorkflowStreamClient.create(client, name).subscribe(from_offset=2, result_type=Order)
    assert (await anext(reading)).data == ORDER
    with pytest.raises(errors.DecodeError, match="placed") as raised:
        await anext(reading)
    assert (raised.value.offset, raised.value.topic) == (3, "orders")
    assert [item async for item in reading] == [Item("orders", ORDER, 4)]


async def test_a_payload_converter_of_the_users_own_is_used_on_every_side(
    stream_server: StreamServer, unique: Callable[[str], str]
) -> None:
    name = unique("place")
    client = await stream_server.connect(data_converter=own_converter)
    async with hosting(client, name, Place) as stream:
        stream.topic("places", type=Coordinates).publish(Coordinates(-3, 4))
    reader = WorkflowStreamClient.create(client, name)
    assert await data_of(reader) == [Coordinates(1, 2), "home", Coordinates(-3, 4)]
    [raw, *_] = await data_of(reader, "places", result_type=RawValue)
    assert raw.payload == Payload(metadata={"encoding": b"text/coordinates"}, data=b"1;2")


async def test_a_reader_without_that_converter_loses_those_items_only(
    stream_server: StreamServer, client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("place")
    async with hosting(
        await stream_server.connect(data_converter=own_converter), name, Place
    ) as stream:
        stream.topic("places").publish(Coordinates(-3, 4))
    reading = WorkflowStreamClient.create(client, name).subscribe()
    told: list[Any] = []
    while True:
        try:
            told.append((await anext(reading)).data)
        except errors.DecodeError as err:
            told.append(("undecodable", err.topic, err.offset))
        except StopAsyncIteration:
            break
    assert told == [("undecodable", "places", 0), "home", ("undecodable", "places", 2)]


async def test_ready_payloads_pass_through_as_they_are_on_both_publishing_sides(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("gallery")
    async with hosting(client, name, Gallery) as stream:
        stream.topic("pictures").publish(PICTURE)
        assert await stream.topic("pictures").send(NOTHING) == 5
    reader = WorkflowStreamClient.create(client, name)
    raws = [item async for item in reader.subscribe("pictures", result_type=RawValue)]
    assert [raw.data.payload for raw in raws] == [PICTURE, NOTHING, PICTURE, PICTURE, NOTHING]
    assert [raw.offset for raw in raws] == [0, 1, 2, 4, 5]


async def test_nothing_decodes_to_a_payload_and_the_error_says_what_to_ask_for(
    client: Client,
) -> None:
    stream = WorkflowStreamClient.create(client, "any")
    for ask in (
        lambda: stream.subscribe(result_type=Payload),
        lambda: stream.follow(result_type=Payload),
        lambda: stream.topic("pictures", type=Payload),
    ):
        with pytest.raises(errors.UsageError, match="RawValue"):
            ask()


async def test_each_topic_is_decoded_to_its_own_type(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("gallery")
    async with hosting(client, name, Gallery) as stream:
        stream.topic("steps", type=Step).publish(Step("paint", 2.0))
        stream.topic("numbers", type=int).publish(7)
    reader = WorkflowStreamClient.create(client, name)
    reader.topic("reports", type=Report)
    steps = reader.topic("steps", type=Step)
    items = [item async for item in reader.subscribe(["reports", steps, "numbers"])]
    assert items == [
        Item("reports", REPORT, 3),
        Item("steps", Step("paint", 2.0), 4),
        Item("numbers", 7, 5),
    ]
    assert type(items[0].data.kind) is Kind
    [step] = [item.data async for item in steps.subscribe()]
    assert step == Step("paint", 2.0)
    # The type that is asked for wins over the bound one; without either it is plain JSON.
    assert await data_of(reader, "steps", result_type=dict) == [{"name": "paint", "took": 2.0}]
    [report] = await data_of(WorkflowStreamClient.create(client, name), "reports")
    assert report["kind"] == "done"


async def test_values_are_encoded_by_the_handles_client_unless_another_is_given(
    stream_server: StreamServer, unique: Callable[[str], str]
) -> None:
    name = unique("place")
    own = await stream_server.connect(data_converter=own_converter)
    plain = await stream_server.connect()
    async with hosting(own, name, Place):
        async with WorkflowStreamClient(own.get_workflow_handle(name), client=plain) as by_plain:
            with pytest.raises(errors.EncodeError):
                by_plain.topic("places").publish(Coordinates(5, 6))
        async with WorkflowStreamClient(own.get_workflow_handle(name)) as by_handle:
            by_handle.topic("places").publish(Coordinates(5, 6))
    [raw] = [
        item.data.payload
        async for item in WorkflowStreamClient.create(own, name).subscribe(
            "places", 2, result_type=RawValue
        )
    ]
    assert raw == Payload(metadata={"encoding": b"text/coordinates"}, data=b"5;6")
