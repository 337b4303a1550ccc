"""Looks at streams without a waiting call: never too many, and each stream has its part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_streams.read.history.looks import LEVEL_SECONDS, LOOKS_PER_SECOND, Looks, level_of

LEVELS = range(len(LEVEL_SECONDS))
counts = st.lists(st.integers(0, 20_000), min_size=len(LEVELS), max_size=len(LEVELS))


def looks_at(streams: list[int]) -> Looks:
    looks = Looks()
    for level, count in enumerate(streams):
        for _ in range(count):
            looks.move(None, level)
    return looks


def rates(streams: list[int]) -> list[float]:
    """Looks a second that the streams of each level get together."""
    looks = looks_at(streams)
    return [count / looks.interval(level) for level, count in enumerate(streams)]


@given(counts)
def test_all_streams_together_get_no_more_than_the_rate(streams: list[int]) -> None:
    assert sum(rates(streams)) <= LOOKS_PER_SECOND * 1.000001


@given(counts)
def test_no_level_is_left_without_looks(streams: list[int]) -> None:
    for count, rate in zip(streams, rates(streams), strict=True):
        even = LOOKS_PER_SECOND * count / max(1, sum(streams))
        assert rate >= min(count / 4, 0.75 * even) * 0.999999


def test_few_streams_cost_few_looks() -> None:
    assert rates([0, 0, 0]) == [0, 0, 0]
    assert rates([2, 4, 8]) == [2, 1, 2]


def test_lively_streams_go_first() -> None:
    assert rates([20, 0, 10_000]) == [20, 0, LOOKS_PER_SECOND - 20]
    assert rates([0, 40, 10_000]) == [0, 10, LOOKS_PER_SECOND - 10]
    assert rates([10_000, 0, 10_000])[0] == pytest.approx(LOOKS_PER_SECOND * 0.625)


def test_a_stream_that_is_counted_elsewhere_leaves_its_level() -> None:
    looks = looks_at([1_000, 0, 0])
    for _ in range(1_000):
        looks.move(0, 2)
    looks.move(2, None)
    assert looks.interval(0) == 1
    assert looks.interval(2) == 999 / LOOKS_PER_SECOND


def test_looks_that_are_due_at_once_are_spread() -> None:
    looks = Looks(per_second=4)
    assert [looks.reserve(10) for _ in range(4)] == [0, 0.25, 0.5, 0.75]
    assert looks.reserve(10.5) == 0.5
    assert looks.reserve(20) == 0


def test_a_stream_is_at_a_level_by_how_long_it_has_been_quiet() -> None:
    assert [level_of(s) for s in (-1, 0, 60, 61, 600, 601, 1e9)] == [0, 0, 0, 1, 1, 2, 2]
