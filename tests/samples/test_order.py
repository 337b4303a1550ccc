"""Order: every line of the runner."""

from __future__ import annotations

import pytest

from .conftest import Start
from .harness import Sample


@pytest.mark.usefixtures("worker")
def test_order_shows_both_topics_in_order_and_ends_with_the_result(start: Start) -> None:
    assert start("run_publisher.py").finish() == [
        "[status] received: order=order-1",
        "[progress] charging card...",
        "[progress] card charged",
        "[status] shipped: order=order-1",
        "[progress] charge id: charge-order-1",
        "[status] complete: order=order-1",
        "workflow result: charge-order-1",
    ]


def test_worker_ends_in_order_on_ctrl_c(worker: Sample, suffix: str) -> None:
    worker.interrupt()
    assert worker.finish() == [f"worker ready on workflow-stream-sample-task-queue{suffix}"]


def test_runner_without_a_server_says_what_to_do(start: Start) -> None:
    (line,) = start("run_publisher.py", TEMPORAL_ADDRESS="127.0.0.1:1").finish(code=1)
    assert line.startswith("No Temporal server answers at 127.0.0.1:1")
