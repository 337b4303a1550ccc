"""How the demo plays the scenario of the killed worker: stand-ins for worker and runner show it."""

from __future__ import annotations

import os
from pathlib import Path

import demo
import processes
import pytest

pytestmark = pytest.mark.processes

READY = "print('worker ready on q', flush=True)\n"
STAY = "import threading\nthreading.Event().wait()\n"
TEXT = "x" * demo.CHARACTERS_BEFORE_KILL
BEGIN = f"print('awaiting first token...')\nprint('{TEXT}', flush=True)\n"

# Tells how it was started, and that it is there for the runner to wait for.
WORKER = """\
import os
with open(f"worker-{os.environ['LOCAL_MODEL_SEED']}", "w") as file:
    file.write(str(os.getpid()))
"""
WAIT = """\
import pathlib, time
while not pathlib.Path("worker-2").exists():
    time.sleep(0.01)
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for worker and runner, which is where they run, too."""
    monkeypatch.setattr(processes, "SAMPLES", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def play(stage: Path, worker: str, runner: str) -> str:
    (stage / "run_llm_worker.py").write_text(worker)
    (stage / "runner.py").write_text(runner)
    scenario = demo.Scenario("", "runner.py", "", lambda text: None, demo.play_with_kill)
    return await scenario.play(scenario, dict(os.environ) | {"LOCAL_MODEL_SEED": "1"})


async def test_worker_is_killed_and_another_one_with_another_seed_is_started(stage: Path) -> None:
    text = await play(stage, WORKER + READY + STAY, BEGIN + WAIT + "print('done')\n")
    assert text == f"awaiting first token...\n{TEXT}\ndone\n"
    first, second = ((stage / f"worker-{seed}").read_text() for seed in (1, 2))
    assert first != second


async def test_worker_that_does_not_start_is_a_fault(stage: Path) -> None:
    with pytest.raises(demo.DemoError, match=r"^the worker did not start:\nno server here\n$"):
        await play(stage, "print('no server here')\n", BEGIN)


async def test_runner_without_text_to_be_interrupted_is_a_fault(stage: Path) -> None:
    few = "print('awaiting first token...')\nprint('a few words')\n"
    with pytest.raises(demo.DemoError, match=r"^no text came that could be interrupted; the wo"):
        await play(stage, WORKER + READY + STAY, few)
    assert not (stage / "worker-2").exists()


async def test_runner_that_fails_after_the_kill_is_a_fault(stage: Path) -> None:
    with pytest.raises(demo.DemoError, match=r"^the runner ended with status 3$"):
        await play(stage, WORKER + READY + STAY, BEGIN + WAIT + "raise SystemExit(3)\n")


async def test_runner_that_does_not_end_is_a_fault(
    stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stage / "runner.py").write_text(STAY)
    monkeypatch.setattr(demo, "RUNNER_SECONDS", 0.1)
    with pytest.raises(demo.DemoError, match=r"^the runner was not done after 0\.1 s$"):
        async with processes.run_sample("runner.py", os.environ) as runner:
            await demo.finish(runner)
