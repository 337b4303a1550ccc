"""Pipeline: nothing lost and nothing double, over a disconnect and over SIGKILL."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from .conftest import Start

STAGES = ["validating", "loading data", "transforming", "writing output", "verifying", "complete"]
ITEMS = [f"offset={n} stage={stage}" for n, stage in enumerate(STAGES)]


class Row(NamedTuple):
    """One line: the left column and the message."""

    processed: int
    available: int
    pending: int
    message: str


def rows(lines: list[str]) -> list[Row]:
    """Parse all lines; each must have the column, 30 wide."""
    parsed: list[Row] = []
    for line in lines:
        column, bar, message = line[:30], line[30], line[32:]
        assert bar == "│"
        counts = re.fullmatch(r"proc=(\d+) avail=(\d+) pend=(\d+) *", column)
        assert counts is not None, line
        parsed.append(Row(int(counts[1]), int(counts[2]), int(counts[3]), message))
        assert parsed[-1].pending == parsed[-1].available - parsed[-1].processed
    return parsed


@pytest.mark.usefixtures("worker")
def test_pipeline_resumes_after_a_disconnect_with_nothing_lost_or_double(start: Start) -> None:
    printed = rows(start("run_reconnecting_subscriber.py").finish())

    told = [row for row in printed if row.message != "·"]
    assert [row.message for row in told[:-1]] == [
        "connected",
        *ITEMS[:2],
        "disconnected for 3 s",
        "reconnected at offset 2",
        *ITEMS[2:],
    ]
    assert re.fullmatch(
        r"workflow result: pipeline workflow-stream-pipeline-[0-9a-f]{8} done", told[-1].message
    )
    assert [row.processed for row in told] == [0, 1, 2, 2, 2, 3, 4, 5, 6, 6]

    messages = [row.message for row in printed]
    away = printed[messages.index("disconnected for 3 s") : messages.index(ITEMS[2])]
    assert [row.message for row in away].count("·") in (2, 3)
    pending = [row.pending for row in away]
    assert pending == sorted(pending)
    assert (pending[0], pending[-1] > 0) == (0, True)
    assert printed[-1].pending == 0


@pytest.mark.usefixtures("worker")
def test_pipeline_survives_sigkill_with_nothing_lost_or_double(
    start: Start, tmp_path: Path
) -> None:
    state = tmp_path / "offset.json"
    offset, messages, expected = 0, list[str](), list[str]()
    for is_killed in (True, True, False):
        runner = start("run_reconnecting_subscriber.py", "--state", str(state))
        began, offset = offset, len(ITEMS)
        if is_killed:
            # The heartbeat after an item: by then the offset has been written. Before the kill
            # there may be more items, on a busy machine.
            last = max(1, began)
            runner.until_line(f".*{ITEMS[last]}")
            runner.until(lambda text, item=ITEMS[last]: "·" in text.partition(item)[2])
            runner.kill()
            lines = runner.text.splitlines()
            offset = int(json.loads(state.read_text())["next_offset"])
            assert last < offset < len(ITEMS)
        else:
            lines = runner.finish()
        messages += [row.message for row in rows(lines) if row.message != "·"]
        workflow_id = messages[0].split()[1]
        expected += [f"reading {workflow_id} from offset {began}", *ITEMS[began:offset]]

    assert messages == [*expected, f"workflow result: pipeline {workflow_id} done"]
    assert list(tmp_path.iterdir()) == []
