"""Runs of earlier versions replay, and are answered as before.

Four of the histories were made when runs began with the marker in their first task. The first of
them that version could not replay itself: what its handlers had seen in the first task, they would
not have seen again. The others are of forks that told their source of their end before it came, one
of which is read in the meantime, and of that source.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from workflow_streams.hosted.host import WorkflowStreamHost

from .first_hosts import Keeper

HISTORIES = Path(__file__).with_name("histories")
NAMES = (
    "first-task", "rolled-1", "rolled-2", "expired", "fork-expired", "fork-left", "source-left",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_it_replays(name: str) -> None:
    text = HISTORIES.joinpath(f"{name}.json").read_text()
    history = WorkflowHistory.from_json(name, text)
    await Replayer(workflows=[Keeper, WorkflowStreamHost]).replay_workflow(history)


def test_every_history_is_replayed() -> None:
    names = {path.stem for path in HISTORIES.iterdir()}
    assert names == set(NAMES)
