"""Fixtures: samples started against the test server, and ended with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .harness import Sample

Start = Callable[..., Sample]


@pytest.fixture
def start(stream_server: Any) -> Iterator[Start]:
    """Start a sample against the test server."""
    with ExitStack() as stack:

        def start(script: str, *args: str, **options: Any) -> Sample:
            sample = Sample(script, *args, **{"TEMPORAL_ADDRESS": stream_server.address} | options)
            stack.callback(sample.close)
            return sample

        yield start


@pytest.fixture
def worker(start: Start) -> Sample:
    """The worker of order, pipeline, hub and ticker, taking tasks."""
    worker = start("run_worker.py")
    worker.until_line("worker ready on workflow-stream-sample-task-queue")
    return worker
