"""Which runs a feed has passed."""

from __future__ import annotations

import sys

from workflow_streams.read.feeds import passed
from workflow_streams.read.feeds.passed import PassedRuns


def test_of_the_runs_that_a_feed_has_passed_the_last_are_known() -> None:
    runs = PassedRuns()
    for number in range(3 * passed.MOST_PASSED):
        runs.add(f"run {number}")
        assert f"run {number}" in runs
    runs.add(f"run {2 * passed.MOST_PASSED}")
    runs.add("new")
    assert len(runs) == passed.MOST_PASSED
    assert f"run {2 * passed.MOST_PASSED}" in runs
    assert f"run {2 * passed.MOST_PASSED + 1}" not in runs


def test_a_table_of_passed_runs_is_small() -> None:
    runs = PassedRuns()
    for number in range(passed.MOST_PASSED):
        runs.add(f"{number:036d}")
    size = sys.getsizeof(runs._runs) + sum(map(sys.getsizeof, runs._runs))
    assert size < 2 * 1024 * 1024
