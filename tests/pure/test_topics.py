"""A topic has one type, whoever asks, and types are compared by equality."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.common.v1 import Payload

from workflow_streams.errors import TopicTypeError, UsageError
from workflow_streams.topics import TopicTypes


def test_a_topic_keeps_its_type() -> None:
    types = TopicTypes()
    assert types.get("t") is Any
    assert types.bind("t", list[int]) == list[int]
    assert types.bind("t", list[int]) == list[int]
    assert types.get("t") == list[int]
    assert types.get("other") is Any


@pytest.mark.parametrize(
    ("first", "second"), [(int, str), (int, bool), (int, None), (None, int), (int, int | None)]
)
def test_a_topic_refuses_a_second_type(first: Any, second: Any) -> None:
    types = TopicTypes()
    types.bind("t", first)
    with pytest.raises(TopicTypeError, match="'t' is already bound") as raised:
        types.bind("t", second)
    assert raised.value.topic == "t"
    assert (raised.value.bound, raised.value.asked) == (first or Any, second or Any)
    assert types.get("t") == (first or Any)


def test_no_type_and_any_are_the_same() -> None:
    types = TopicTypes()
    types.bind("t", None)
    assert types.bind("t", Any) is Any


def test_payload_is_no_type_and_binds_nothing() -> None:
    types = TopicTypes()
    with pytest.raises(UsageError, match="RawValue"):
        types.bind("t", Payload)
    assert types.bind("t", int) is int
