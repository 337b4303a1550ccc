"""Offset tokens and cursors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_streams import Last
from workflow_streams.gateway.formats.offsets import (
    next_cursor,
    parse_cursor,
    parse_offset,
    parse_start,
    token_of,
)
from workflow_streams.gateway.refusals.problems import InvalidRequestError

offsets = st.integers(0, 2**63 - 1)


@given(offsets, offsets)
def test_tokens_sort_as_their_offsets_and_are_read_back(one: int, other: int) -> None:
    assert parse_offset(token_of(one)) == one
    assert (token_of(one) < token_of(other)) == (one < other)
    assert not set(token_of(one)) & set(",&=?/")


@given(st.text())
def test_what_is_no_token_is_refused(text: str) -> None:
    try:
        offset = parse_offset(text)
    except InvalidRequestError:
        return
    assert text.isascii()
    assert 0 <= offset < 2**63
    assert int(text.partition("_")[0]) == offset


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "+1",
        "1 ",
        "0,1",
        "1e3",
        "²",
        "0x1",
        "--1",
        "-0",
        "-01",
        "-1x",
        "NOW",
        "9" * 20,
        "1_1",
    ],
)
def test_things_that_are_nearly_offsets_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_start(text)


def test_the_sentinels_are_places() -> None:
    assert parse_start(None) == parse_start("-1") == "start"
    assert parse_start("now") == "now"
    assert [parse_start(text) for text in ("-2", "-50")] == [Last(2), Last(50)]
    # The zero as other servers of the protocol write it, which clients know.
    assert parse_start("0000000000000000_0000000000000000") == 0


@given(st.integers(0, 10**17), st.floats(1_728_432_000, 4_000_000_000))
def test_a_cursor_always_rises(given_cursor: int, now: float) -> None:
    answer = next_cursor(given_cursor, now)
    assert parse_cursor(answer) == int(answer) > given_cursor
    assert int(next_cursor(None, now)) <= int(answer)


@pytest.mark.parametrize("text", ["a", "-1", "1.5", "1" * 19, "²"])
def test_a_malformed_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_cursor(text)


@pytest.mark.parametrize("text", [None, ""])
def test_there_need_not_be_a_cursor(text: str | None) -> None:
    assert parse_cursor(text) is None
