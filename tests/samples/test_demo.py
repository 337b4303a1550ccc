"""The demo: it plays, checks and sums up, and leaves no process behind."""

from __future__ import annotations

import psutil
import pytest

from .harness import Sample


@pytest.fixture
def demo(request: pytest.FixtureRequest) -> Sample:
    """The demo of the scenarios that the test names, on a server of its own."""
    sample = Sample("demo.py", *request.param)
    request.addfinalizer(sample.close)
    return sample


@pytest.mark.parametrize("demo", [["order"]], indirect=True)
def test_demo_plays_and_sums_up(demo: Sample) -> None:
    lines = demo.finish()
    assert "workflow result: charge-order-1" in lines
    assert lines[-2] == "━━ summary"
    assert lines[-1].startswith("order ")
    assert lines[-1].endswith(" s  ok")
    assert "\x1b" not in demo.text


@pytest.mark.parametrize("demo", [["pipeline"]], indirect=True)
def test_interrupted_demo_leaves_no_process_behind(demo: Sample) -> None:
    demo.until_line(r".*offset=0 stage=validating")
    started = psutil.Process(demo.process.pid).children(recursive=True)
    assert len(started) >= 3  # server, worker and runner
    demo.interrupt()
    demo.finish(code=130)
    assert [process for process in started if process.is_running()] == []
