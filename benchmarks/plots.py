"""Draws the figures of the results, one PNG per measure that has some to draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .report import Result

mpl.use("Agg")

COLOURS = {"ours": "#2563a8", "contrib": "#c2570c", "floor": "#6b7280"}
LIGHT = "#7fb2e5"
NAMES = {"ours": "workflow_streams", "contrib": "contrib", "floor": "floor"}
MEGABYTE = 1_000_000


def draw(results: list[Result], folder: Path) -> None:
    """Draw what can be drawn of `results` into `folder`."""
    for result in results:
        if result.name in _DRAWINGS and not result.broken:
            panels, drawing = _DRAWINGS[result.name]
            figure = Figure(figsize=(4.8 * panels, 3.4), layout="constrained")
            axes = figure.subplots(1, panels, squeeze=False)[0]
            drawing(list(axes), result.figures)
            for axis in axes:
                _dress(axis)
            figure.suptitle(result.title, fontsize=10)
            figure.savefig(folder / f"{result.name}.png", dpi=110)


def _dress(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(visible=True, axis="y", color="#e5e7eb", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=8)


def _latency(axes: list[Axes], figures: dict[str, Any]) -> None:
    [axis] = axes
    for side, found in figures.items():
        ordered = sorted(found["ms"])
        shares = [(i + 1) / len(ordered) for i in range(len(ordered))]
        axis.plot(ordered, shares, color=COLOURS[side], label=NAMES[side])
    axis.set_xscale("log")
    axis.set_xlabel("publish to delivery, ms", fontsize=8)
    axis.set_ylabel("share of items", fontsize=8)


def _readers(axes: list[Axes], figures: dict[str, Any]) -> None:
    latency, events = axes
    for side in ("ours", "contrib"):
        runs = {int(n): run for n, run in figures[side].items()}
        whole = [n for n, run in runs.items() if n and run["complete"] == n]
        style = {"color": COLOURS[side], "label": NAMES[side], "marker": "o"}
        latency.plot(whole, [runs[n]["p50"] for n in whole], **style)
        shown = [n for n in runs if n in whole or not n]
        events.plot([str(n) for n in shown], [runs[n]["events_per_batch"] for n in shown], **style)
    latency.set_xscale("log")
    latency.set_ylim(bottom=0)
    latency.set_xlabel("readers, where all are complete", fontsize=8)
    latency.set_ylabel("p50, ms", fontsize=8)
    events.set_ylim(bottom=0)
    events.set_xlabel("readers, where all are complete", fontsize=8)
    events.set_ylabel("history events per batch", fontsize=8)


def _progress(axes: list[Axes], figures: dict[str, Any]) -> None:
    [axis] = axes
    for side, found in figures.items():
        points = found["progress"]
        axis.plot(
            [at for at, _ in points],
            [count for _, count in points],
            color=COLOURS[side],
            label=NAMES[side],
        )
    axis.set_xlabel("seconds", fontsize=8)
    axis.set_ylabel("items read, per reader", fontsize=8)
    axis.yaxis.set_major_formatter("{x:,.0f}")


def _catch_up(axes: list[Axes], figures: dict[str, Any]) -> None:
    [axis] = axes
    bars = [
        (f"{NAMES[side]}\n{kind}", rate, COLOURS[side])
        for side, kinds in figures.items()
        for kind, rate in kinds.items()
    ]
    names, rates, colours = zip(*bars, strict=True)
    drawn = axis.bar(names, rates, color=colours, width=0.6)
    axis.bar_label(drawn, fmt="{:,.0f}", fontsize=7)
    axis.set_ylabel("items/s", fontsize=8)
    axis.yaxis.set_major_formatter("{x:,.0f}")
    axis.tick_params(axis="x", labelrotation=20)


def _growth(axes: list[Axes], figures: dict[str, Any]) -> None:
    keys = (
        ("rate", 1, "items/s"),
        ("worker_rss", MEGABYTE, "peak memory of the worker, MB"),
        ("reader_rss", MEGABYTE, "peak memory of the reader, MB"),
        ("publisher_rss", MEGABYTE, "peak memory of the publisher, MB"),
    )
    for axis, (key, unit, label) in zip(axes, keys, strict=True):
        for side, sizes in figures.items():
            whole = [size for size in sizes if size["rate"]]
            axis.plot(
                [size["items"] for size in whole],
                [size[key] / unit for size in whole],
                color=COLOURS[side],
                label=NAMES[side],
                marker="o",
            )
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("items in the stream", fontsize=8)
        axis.set_ylabel(label, fontsize=8)
        axis.yaxis.set_major_formatter("{x:,.0f}")


def _fan_out(axes: list[Axes], figures: dict[str, Any]) -> None:
    latency, stall = axes
    for name, label, colour in (
        ("one", "one viewer", LIGHT),
        ("crowd", "all viewers", COLOURS["ours"]),
        ("floor", "all, plain broadcast", COLOURS["floor"]),
    ):
        ordered = figures[name]["ms"]
        shares = [i / max(1, len(ordered) - 1) for i in range(len(ordered))]
        latency.plot(ordered, shares, color=colour, label=label)
    latency.set_xscale("log")
    latency.set_xlabel("publish to delivery, ms", fontsize=8)
    latency.set_ylabel("share of items", fontsize=8)
    for name, label, colour in (
        ("without", "without", LIGHT),
        ("with", "beside a viewer that takes nothing in", COLOURS["ours"]),
    ):
        rounds = figures["stall"][name]
        at = [str(number) for number in range(1, len(rounds) + 1)]
        stall.plot(at, rounds, color=colour, label=label, marker="o", linestyle="none")
    stall.set_ylim(bottom=0)
    stall.set_xlabel("round", fontsize=8)
    stall.set_ylabel("p99 of the others, ms", fontsize=8)


_DRAWINGS: dict[str, tuple[int, Callable[[list[Axes], dict[str, Any]], None]]] = {
    "latency": (1, _latency),
    "latency-fast": (1, _latency),
    "readers": (2, _readers),
    "life": (1, _progress),
    "burst": (1, _progress),
    "catch-up": (1, _catch_up),
    "growth": (4, _growth),
    "fan-out": (2, _fan_out),
}
