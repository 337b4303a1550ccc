"""The measures, one file each, in the order of the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..bench import Bench
from ..report import Result
from . import (
    burst,
    catch_up,
    fan_out,
    growth,
    idle,
    latency,
    latency_fast,
    life,
    many_streams,
    processes,
    publishers,
    readers,
    start,
)

Measure = Callable[[Bench], Awaitable[Result]]

MEASURES: dict[str, Measure] = {
    "start": start.measure,
    "latency": latency.measure,
    "latency-fast": latency_fast.measure,
    "readers": readers.measure,
    "processes": processes.measure,
    "life": life.measure,
    "burst": burst.measure,
    "catch-up": catch_up.measure,
    "growth": growth.measure,
    "idle": idle.measure,
    "fan-out": fan_out.measure,
    "publishers": publishers.measure,
    "many-streams": many_streams.measure,
}
