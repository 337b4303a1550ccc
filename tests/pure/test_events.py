"""What readers are told: how it is matched, counted and compared."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import datetime, timezone
from typing import Any

import pytest

from workflow_streams import LATEST, End, Gap, Item, Last, Rewind, WorkflowStreamItem


def test_each_event_matches_by_position_in_the_order_of_its_fields() -> None:
    told = []
    events: list[Any] = [
        Item("t", 1, 5),
        Gap(5, 8, "expired"),
        Rewind((range(2, 4),), "attempt", 8, "pay", 2),
        End("failed", 9, "run", ValueError("why")),
    ]
    for event in events:
        match event:
            case Item(topic, data, offset):
                told.append((topic, data, offset))
            case Gap(start, end, reason):
                told.append((start, end, reason))
            case Rewind(ranges, reason, next_offset, activity_id, attempt):
                told.append((ranges, reason, next_offset, activity_id, attempt))
            case End(outcome, offset, run_id):
                told.append((outcome, offset, run_id))
    assert told == [
        ("t", 1, 5),
        (5, 8, "expired"),
        ((range(2, 4),), "attempt", 8, "pay", 2),
        ("failed", 9, "run"),
    ]


def test_gaps_and_rewinds_count_offsets() -> None:
    assert Gap(5, 8, "truncated").count == 3
    assert Rewind((range(2), range(5, 8)), "attempt", 9).count == 5
    assert Rewind((), "cron", 0).count == 0


def test_items_are_equal_by_what_was_published_and_where() -> None:
    now = datetime.now(timezone.utc)
    assert Item("t", 1, 5, skipped=3, time=now) == Item("t", 1, 5)
    assert Item("t", 1, 5) != Item("t", 1, 6)
    assert End("failed", 9, "run", ValueError("a")) == End("failed", 9, "run")
    assert WorkflowStreamItem is Item


def test_what_happened_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Gap(5, 8, "truncated").start = 0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Item("t", 1, 5).note = ""  # type: ignore[attr-defined]


def test_latest_is_nothing_back() -> None:
    assert Last(0) == LATEST
