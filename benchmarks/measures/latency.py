"""Latency from publish to delivery at a talker's pace: an item each 150 ms, one reader.

The items of the three sides are interleaved, 50 ms apart, so that whatever else the machine does
meanwhile meets all of them alike.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from ..bench import Bench, percentile
from ..report import Line, Result, at_most, number, ratio
from ..sides import SIDES, Side
from ._paced import Paced, Pair, open_pair

INTERVAL_MS = 150
START_NS = 500_000_000


async def measure(bench: Bench) -> Result:
    """Measure all three sides; each item is flushed at once."""
    found = await _interleaved(bench, bench.pick(200, 30))
    ours, contrib, floor = found["ours"], found["contrib"], found["floor"]
    to_contrib, to_floor = ratio(ours.p50, contrib.p50), ratio(ours.p50, floor.p50)
    title = "latency, 1 reader, an item each 150 ms, p50"
    return Result(
        "latency",
        title,
        [
            Line(
                title,
                number(ours.p50, "ms"),
                number(contrib.p50, "ms"),
                number(floor.p50, "ms"),
                f"{to_contrib:.2f} of the contrib's",
                "at most 0.45 of the contrib's",
                not ours.fault and at_most(to_contrib, 0.45),
            ),
            Line(
                "the same beside the floor",
                number(ours.p50, "ms"),
                "",
                number(floor.p50, "ms"),
                f"{to_floor:.2f} of the floor",
                "at most 1.5 of the floor",
                not ours.fault and at_most(to_floor, 1.5),
            ),
        ],
        [
            (
                "Both publishers flush each item at once; the contrib's default interval of 2 s "
                "would be its latency otherwise. The items of the three sides take turns."
            ),
            (
                f"p95: ours {ours.p95:.1f} ms, contrib {contrib.p95:.1f} ms, "
                f"floor {floor.p95:.1f} ms. "
                f"A raw signal RPC alone takes {percentile(floor.rpc, 50):.1f} ms (p50)."
            ),
            *(side.fault for side in found.values() if side.fault),
        ],
        {
            side: {"p50": f.p50, "p95": f.p95, "rpc_p50": percentile(f.rpc, 50), "ms": f.latencies}
            for side, f in found.items()
        },
    )


async def _interleaved(bench: Bench, items: int) -> dict[Side, Paced]:
    async with AsyncExitStack() as stack:
        pairs: dict[Side, Pair] = {}
        for side in SIDES:
            pairs[side] = await stack.enter_async_context(
                open_pair(bench, side, items=items, interval_ms=INTERVAL_MS, force=True)
            )
        start = time.monotonic_ns() + START_NS
        step = INTERVAL_MS * 1_000_000 // len(SIDES)
        results = await asyncio.gather(
            *(pair.go(start + step * i) for i, pair in enumerate(pairs.values()))
        )
        return dict(zip(pairs, results, strict=True))
