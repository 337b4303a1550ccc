"""Ticker: the fast reader has it all, the slow one is told exactly what it lost."""

from __future__ import annotations

import re

import pytest

from .conftest import Start

LANE = 32
TICKS = 30


@pytest.mark.usefixtures("worker")
def test_ticker_tells_the_slow_reader_what_it_lost(start: Start) -> None:
    lines = start("run_truncating_ticker.py").finish()

    assert lines[:2] == ["fast", " " * LANE + "slow (1.5 s per item)"]
    assert lines[-1] == "workflow result: ticker emitted 30 events"
    body = lines[2:-1]
    fast = [line for line in body if not line.startswith(" " * LANE)]
    slow = [line[LANE:] for line in body if line.startswith(" " * LANE)]

    assert fast == [*(f"offset={n} n={n}" for n in range(TICKS)), "end of stream"]

    assert slow.pop() == "end of stream"
    told: list[int] = []
    jumps = 0
    for text in slow:
        jump = re.fullmatch(r"↪ jumped offset=(\d+) → (\d+) \((\d+) dropped\)", text)
        if jump is None:
            (offset,) = re.findall(r"^offset=(\d+) n=\1$", text)
            told.append(int(offset))
        else:
            start_, end, dropped = map(int, jump.groups())
            assert dropped == end - start_ > 0
            told += range(start_, end)
            jumps += 1
    assert told == list(range(TICKS))
    assert jumps >= 2
