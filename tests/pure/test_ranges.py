"""Ranges are carried in few numbers, and in as many bytes as are left."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_streams.log.ranges import above, last_packed, packed, unpacked


@st.composite
def ascending(draw: st.DrawFn) -> list[range]:
    ranges: list[range] = []
    end = 0
    for gap, count in draw(
        st.lists(st.tuples(st.integers(0, 10**6) | st.integers(0, 20), st.integers(1, 2000)))
    ):
        start = end + gap + bool(ranges)
        end = start + count
        ranges.append(range(start, end))
    return ranges


@given(ascending())
def test_ranges_come_back_as_they_were(ranges: list[range]) -> None:
    assert unpacked(json.loads(json.dumps(packed(ranges)))) == ranges


@given(ascending(), st.integers(0, 200))
def test_as_many_of_the_last_ranges_are_packed_as_fit(ranges: list[range], room: int) -> None:
    numbers, size = last_packed(ranges, room)
    kept = unpacked(numbers)
    assert kept == ranges[len(ranges) - len(kept or ()) :]
    assert size == len(json.dumps(numbers, separators=(",", ":")))
    if kept:
        assert size <= room
    if kept is not None and len(kept) < len(ranges):
        more = json.dumps(packed(ranges[len(ranges) - len(kept) - 1 :]), separators=(",", ":"))
        assert len(more) + 2 > room


@pytest.mark.parametrize("numbers", [None, 1, "12", [1], [1, -1], [1, "2"], [1, True], [1.0, 2]])
def test_anything_else_is_no_ranges(numbers: object) -> None:
    assert unpacked(numbers) is None


@given(ascending(), st.integers(0, 5000))
def test_nothing_is_left_below_a_base(ranges: list[range], base: int) -> None:
    left = {offset for part in above(ranges, base) for offset in part}
    assert left == {offset for part in ranges for offset in part if offset >= base}
    assert all(above(ranges, base))


def test_ranges_that_do_not_fit_are_left_out_from_the_first_on() -> None:
    ranges = [range(10), range(100, 110), range(1000, 1010)]
    assert last_packed(ranges, 100) == ([0, 10, 90, 10, 890, 10], 19)
    assert last_packed(ranges, 12) == ([1000, 10], 9)
    assert last_packed(ranges, 3) == ([], 2)
