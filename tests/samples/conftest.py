"""Fixtures: samples started against the test server, and ended with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .harness import Sample

Start = Callable[..., Sample]


@pytest.fixture
def suffix(unique: Callable[[str], str]) -> str:
    """What the test's task queues end in; other tests may use the same server."""
    return unique("-test")


@pytest.fixture
def start(stream_server: Any, suffix: str) -> Iterator[Start]:
    """Start a sample against the test server, on task queues of the test's own."""
    own = {"TEMPORAL_ADDRESS": stream_server.address, "SAMPLES_QUEUE_SUFFIX": suffix}
    with ExitStack() as stack:

        def start(script: str, *args: str, **options: Any) -> Sample:
            sample = Sample(script, *args, **own | options)
            stack.callback(sample.close)
            return sample

        yield start


@pytest.fixture
def worker(start: Start, suffix: str) -> Sample:
    """The worker of order, pipeline, hub and ticker, taking tasks."""
    worker = start("run_worker.py")
    worker.until_line(f"worker ready on workflow-stream-sample-task-queue{suffix}")
    return worker
