"""Runs that began with the marker in their first task replay, and are answered as before.

The histories were made by the version that had it so. The first of them it could not replay
itself: what its handlers had seen in the first task, they would not have seen again.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from workflow_streams.hosted.host import WorkflowStreamHost

from .first_hosts import Keeper

HISTORIES = Path(__file__).with_name("histories")


@pytest.mark.parametrize("name", ["first-task", "rolled-1", "rolled-2", "expired"])
async def test_it_replays(name: str) -> None:
    text = HISTORIES.joinpath(f"{name}.json").read_text()
    history = WorkflowHistory.from_json(name, text)
    await Replayer(workflows=[Keeper, WorkflowStreamHost]).replay_workflow(history)


def test_every_history_is_replayed() -> None:
    names = {path.stem for path in HISTORIES.iterdir()}
    assert names == {"first-task", "rolled-1", "rolled-2", "expired"}
