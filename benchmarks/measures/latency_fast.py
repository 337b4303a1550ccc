"""Latency of a token stream: an item each 20 ms, batches each 10 ms."""

from __future__ import annotations

from ..bench import Bench
from ..report import Line, Result, at_most, number, ratio
from ..sides import SIDES, Side
from ._paced import Paced, open_pair

INTERVAL_MS = 20
BATCH_INTERVAL_MS = 10


async def measure(bench: Bench) -> Result:
    """Measure the sides in turn, in several rounds, with the same batch interval."""
    found: dict[Side, Paced] = {side: Paced() for side in SIDES}
    for _ in range(bench.pick(3, 1)):
        for side in SIDES:
            pair = open_pair(
                bench,
                side,
                items=bench.pick(250, 100),
                interval_ms=INTERVAL_MS,
                batch_interval_ms=BATCH_INTERVAL_MS,
            )
            async with pair as opened:
                found[side].add(await opened.go())
    ours, contrib, floor = found["ours"], found["contrib"], found["floor"]
    to_contrib = ratio(ours.p50, contrib.p50)
    title = "latency, 1 reader, an item each 20 ms, batch interval 10 ms, p50"
    return Result(
        "latency-fast",
        title,
        [
            Line(
                title,
                number(ours.p50, "ms"),
                number(contrib.p50, "ms"),
                number(floor.p50, "ms"),
                f"{to_contrib:.2f} of the contrib's",
                "at most 0.2 of the contrib's",
                not ours.fault and at_most(to_contrib, 0.2),
            )
        ],
        [
            "The contrib's readers wait 100 ms between polls (their default).",
            f"p95: ours {ours.p95:.1f} ms, contrib {contrib.p95:.1f} ms, floor {floor.p95:.1f} ms.",
            *(side.fault for side in found.values() if side.fault),
        ],
        {side: {"p50": f.p50, "p95": f.p95, "ms": f.latencies} for side, f in found.items()},
    )
