"""What the start of a workflow that hosts a stream costs, without the plugin and with it.

Without the plugin the sandbox imports the package anew for each run, as it does the contrib.
"""

from __future__ import annotations

import time
import uuid
from contextlib import AsyncExitStack

from ..bench import Bench, Worker, percentile
from ..report import Line, Result, at_most, number
from ..sides import LIBRARIES, Side, host_of

MORE_MS = 5


async def measure(bench: Bench) -> Result:
    """Measure both libraries; their workflows take turns."""
    times = await _in_turn(bench, bench.pick(100, 20))
    plain, contrib, plugin = (percentile(values, 50) for values in times.values())
    more = plain - contrib
    title = "start of a workflow with a stream, to its result, no plugin, p50"
    return Result(
        "start",
        title,
        [
            Line(
                title,
                number(plain, "ms"),
                number(contrib, "ms"),
                ratio=f"{more:+.1f} ms",
                goal=f"at most {MORE_MS} ms more than the contrib's",
                met=at_most(more, MORE_MS),
            )
        ],
        [
            (
                "The workflow makes its stream and returns at its first signal, which comes with "
                f"the start. With the plugin ours takes {number(plugin, 'ms')}."
            ),
        ],
        {"ours": plain, "contrib": contrib, "plugin": plugin},
    )


async def _in_turn(bench: Bench, count: int) -> dict[str, list[float]]:
    async with AsyncExitStack() as stack:
        workers: dict[str, tuple[Side, Worker]] = {}
        for side in LIBRARIES:
            workers[side] = side, await stack.enter_async_context(bench.worker(side, plain=True))
        workers["plugin"] = "ours", await stack.enter_async_context(bench.worker("ours"))
        times: dict[str, list[float]] = {name: [] for name in workers}
        for turn in range(count + 1):
            for name, (side, worker) in workers.items():
                took = await _start(bench, side, worker)
                if turn:  # the first brings the worker's own imports with it
                    times[name].append(took)
        return times


async def _start(bench: Bench, side: Side, worker: Worker) -> float:
    host = host_of(side)
    began = time.perf_counter()
    await bench.client(side).execute_workflow(
        host.Host.run,
        host.HostInput(quiet=True),
        id=f"benchmark-start-{uuid.uuid4().hex[:8]}",
        task_queue=worker.task_queue,
        start_signal="finish",
    )
    return (time.perf_counter() - began) * 1000
