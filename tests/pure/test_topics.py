"""A topic has one type, whoever asks, and types are compared by equality."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.common.v1 import Payload

from workflow_streams.errors import TopicTypeError, UsageError
from workflow_streams.topics import TopicTypes, types_in


def test_a_topic_keeps_its_type() -> None:
    types = TopicTypes()
    assert types.get("t") is Any
    assert types.bind("t", list[int]) == list[int]
    assert types.bind("t", list[int]) == list[int]
    assert types.get("t") == list[int]
    assert types.get("other") is Any


@pytest.mark.parametrize(
    ("first", "second"), [(int, str), (int, bool), (int, type(None)), (int, int | None)]
)
def test_a_topic_refuses_a_second_type(first: Any, second: Any) -> None:
    types = TopicTypes()
    types.bind("t", first)
    with pytest.raises(TopicTypeError, match="'t' is already bound") as raised:
        types.bind("t", second)
    assert raised.value.topic == "t"
    assert (raised.value.bound, raised.value.asked) == (first, second)
    assert types.get("t") == first


@pytest.mark.parametrize("none", [None, Any])
def test_no_type_is_no_other_type(none: Any) -> None:
    types = TopicTypes()
    assert types.bind("t", none) is Any
    assert types.bind("t", int) is int
    assert types.bind("t", none) is int
    assert types.get("t") is int


def test_types_can_be_given_together() -> None:
    types = types_in({"t": int, "u": Any})
    assert (types.get("t"), types.get("u"), types.get("other")) == (int, Any, Any)
    with pytest.raises(UsageError, match="RawValue"):
        types_in({"t": Payload})
    with pytest.raises(UsageError, match="A topic's name is a str"):
        types_in({7: int})  # type: ignore[dict-item]


def test_payload_is_no_type_and_binds_nothing() -> None:
    types = TopicTypes()
    with pytest.raises(UsageError, match="RawValue"):
        types.bind("t", Payload)
    assert types.bind("t", int) is int
