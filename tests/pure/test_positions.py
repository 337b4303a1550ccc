"""Positions: what readers keep to resume at."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_streams import Item
from workflow_streams.errors import InvalidOffsetError
from workflow_streams.log.positions import (
    LARGEST_OFFSET,
    Position,
    chain_digest,
    parse_position,
    position_at,
    tag_of,
)

offsets = st.integers(0, LARGEST_OFFSET)
runs = st.uuids().map(str)


@given(offsets, runs, runs, st.integers(0, 999_999))
def test_what_is_written_is_read(offset: int, first: str, run: str, rewinds: int) -> None:
    text = position_at(offset, tag_of(first, run), rewinds)
    assert parse_position(text) == Position(offset, run, chain_digest(first), rewinds)
    assert len(text) == 48 + (1 + len(str(rewinds)) if rewinds else 0)
    assert position_at(offset, "", rewinds) == f"{offset:020d}"
    assert text.isascii()
    # Fit for URLs and header fields as they are.
    assert not set(text) & set(" ,;&=?/%+#\"'")


@given(offsets)
def test_a_number_alone_is_an_offset(offset: int) -> None:
    assert parse_position(str(offset)) == parse_position(position_at(offset)) == offset


@given(st.lists(offsets, min_size=2), runs)
def test_positions_of_a_run_sort_as_their_offsets(numbers: list[int], run: str) -> None:
    tag = tag_of(run, run)
    assert sorted(position_at(n, tag) for n in numbers) == [
        position_at(n, tag) for n in sorted(numbers)
    ]


@pytest.mark.parametrize("run", ["", "no-uuid", str(UUID(int=5)).replace("-", ""), "{x}"])
def test_without_a_run_there_is_no_tag(run: str) -> None:
    assert tag_of(str(UUID(int=1)), run) == ""
    assert tag_of("", str(UUID(int=1))) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "_",
        "-1",
        "+1",
        " 1",
        "1\n",
        "1_",
        "1_" + "a" * 26,
        "1~1",
        "1_" + "a" * 27 + "~",
        "1_" + "a" * 27 + "~x",
        "1_" + "é" * 27,
        "\u0661",
        "9" * 20,
        LARGEST_OFFSET + 1,
    ],
)
def test_anything_else_is_none(text: str | int) -> None:
    with pytest.raises(InvalidOffsetError, match="is not a position"):
        parse_position(str(text))


def test_the_position_of_an_item_is_right_after_it() -> None:
    assert Item("t", 1, 41).position == f"{42:020d}"
    tag = tag_of(str(UUID(int=1)), str(UUID(int=2)))
    item = Item("t", 1, 41, _tag=tag)
    assert parse_position(item.position) == Position(
        42, str(UUID(int=2)), chain_digest(str(UUID(int=1)))
    )
    assert item == Item("t", 1, 41)
    assert "tag" not in repr(item)
