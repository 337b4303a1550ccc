"""Tables that could grow with what a process has seen are filled to their bound, and past it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.converter import DataConverter

from tests.texts import entry_json
from workflow_streams.errors import TopicTypeError
from workflow_streams.gateway.formats import frames
from workflow_streams.gateway.layers.rates import LONGEST_CLIENT, RequestRates
from workflow_streams.gateway.refusals import TooManyRequestsError
from workflow_streams.host import hand_over
from workflow_streams.log import entries
from workflow_streams.log.payloads import JSON_KIND, text_of
from workflow_streams.publish.pacing import _MOST_PACES, _paces, pace_of
from workflow_streams.read.history import outage
from workflow_streams.temporal.values import Values
from workflow_streams.testing.fixtures import StreamServer
from workflow_streams.topics import TopicTypes

Unique = Callable[[str], str]


@pytest.mark.parametrize(
    ("table", "use"),
    [
        (frames._usual_topic, lambda topic: frames._topic(topic)),
        (entries._usual_topic_bytes, lambda topic: entries.entry_bytes(topic, b"", b"")),
        (hand_over._topic_bytes, lambda topic: hand_over.carried_bytes(topic, b"", b"")),
    ],
    ids=["as JSON", "in a batch", "in a state"],
)
def test_what_is_known_of_topics_is_bounded_in_number_and_in_bytes(
    table: Any, use: Callable[[str], Any]
) -> None:
    table.cache_clear()
    usual = ["\U0001f600" * entries.USUAL_TOPIC + str(n) for n in range(3)]
    for number in range(2 * entries.MOST_TOPICS):
        use(f"topic {number}")
    assert table.cache_info().currsize == entries.MOST_TOPICS
    before = table.cache_info()
    for topic in (*usual, "x" * 2_000_000):
        assert use(topic) == use(topic)
    # Long ones are judged alike, and not kept.
    assert table.cache_info() == before
    longest = "é" * entries.USUAL_TOPIC
    assert use(longest) == use(longest)
    assert table.cache_info().hits == before.hits + 1


def test_long_topics_are_told_and_counted_as_short_ones_are() -> None:
    item = (JSON_KIND, b"1")
    for topic in ('é\U0001f600"\\\n', 'é\U0001f600"\\\n' * 1000):
        assert frames._topic(topic) == json.dumps(topic).encode()
        assert entries.entry_bytes(topic, *item) == len(entry_json(topic, *item)) + 1
        escaped = json.dumps(json.dumps([topic, text_of(*item)], separators=(",", ":")))
        assert hand_over.carried_bytes(topic, *item) == len(escaped) - 2 + 1


def test_a_reader_of_any_number_of_topics_keeps_nothing_of_those_without_a_type() -> None:
    converter = DataConverter.default.payload_converter
    values = Values(converter)
    types = TopicTypes()
    types.bind("typed", str)
    decode = types.decoder(values, None)
    item = (JSON_KIND, b'"a"')
    assert decode("typed", *item) == "a"
    [table] = [cell.cell_contents for cell in decode.__closure__ or () if _is_table(cell)]
    for number in range(10_000):
        assert decode(f"topic {number}", *item) == "a"
    assert list(table) == ["typed"]
    # One that is bound later is decoded to its type from then on.
    types.bind("topic 7", int)
    with pytest.raises(TopicTypeError):
        types.bind("topic 7", str)
    with pytest.raises(TypeError):
        decode("topic 7", *item)


def _is_table(cell: Any) -> bool:
    return isinstance(cell.cell_contents, dict)


def test_clients_with_long_names_take_no_more_room_and_are_told_apart() -> None:
    rates = RequestRates(1, 1, most_clients=100, clock=lambda: 0)
    long = "subject " + "x" * 8_000
    names = [f"{long} {number}" for number in range(1_000)]
    for name in names:
        rates.take(name)
    assert rates.clients == 100
    assert sum(map(len, rates._buckets)) <= 100 * LONGEST_CLIENT
    rates.take(names[0])  # forgotten
    for name in names[-50:]:
        with pytest.raises(TooManyRequestsError):
            rates.take(name)
    rates.take("subject \ud800" + "x" * 200)


async def test_outages_are_known_of_as_many_workflows_as_there_is_room_for(
    stream_server: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await stream_server.connect()
    monkeypatch.setattr(outage, "_MOST", 100)

    def failing(deep: int) -> None:
        large = bytes(1_000_000)
        if deep:
            failing(deep - 1)
        raise ConnectionError(f"{len(large)} bytes were being read")

    for number in range(300):
        with pytest.raises(ConnectionError) as failed:
            failing(1)
        outage.failed(client, f"workflow {number}", failed.value)
    known = outage._outages[client.service_client]
    assert len(known) == 100
    # The error is kept, and not what was being done when it came.
    assert all(found.error.__traceback__ is None for found in known.values())
    outage.failed(client, "workflow 299", ConnectionError("again"), way="poll")
    assert len(known) == 100
    for number in range(300):
        outage.answered(client, f"workflow {number}")
    outage.answered(client, "workflow 299", way="poll")
    assert not known


async def test_of_the_workflows_that_are_sent_to_the_last_are_known(
    stream_server: StreamServer, unique: Unique
) -> None:
    client: Client = await stream_server.connect()
    first = unique("workflow")
    kept = pace_of(client.get_workflow_handle(first))
    assert pace_of(client.get_workflow_handle(first)) is kept
    for number in range(_MOST_PACES):
        pace_of(client.get_workflow_handle(f"{first} {number}"))
    assert len(_paces[client.service_client]) == _MOST_PACES
    assert pace_of(client.get_workflow_handle(first)) is not kept
