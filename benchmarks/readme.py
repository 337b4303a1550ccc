"""Puts figures of the last full run into the README: `python -m benchmarks.readme`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .report import RESULTS

README = RESULTS.parent.parent / "README.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"

# Result, number of its line, and what the README calls it.
ROWS = (
    ("latency", 0, "latency, an item each 150 ms, p50"),
    ("latency-fast", 0, "latency, an item each 20 ms, p50"),
    ("readers", 0, "readers that got everything, of 1 / 10 / 100 / 1,000"),
    ("readers", 1, "latency with 100 readers, and with 1, p50"),
    ("readers", 2, "history events per batch, 0 / 1 / 10 / 100 / 1,000 readers"),
    ("life", 0, "10,000 batches, 10 readers throughout"),
    ("burst", 0, "burst of 200,000 items, read back"),
    ("catch-up", 1, "catch-up, decoded to `str`"),
)


def figures(results: dict[str, Any]) -> str:
    """Return the README's table of what `results.json` holds."""
    lines = {result["name"]: result["lines"] for result in results["results"]}
    rows = ["| measured | contrib | workflow_streams |", "|---|---|---|"]
    for name, number, title in ROWS:
        line = lines[name][number]
        rows.append(f"| {title} | {line['contrib']} | {line['ours']} |")
    return "\n".join(rows) + "\n"


def with_figures(text: str, table: str) -> str:
    """Return the README with this table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main(readme: Path = README, results: Path = RESULTS) -> None:
    """Write the figures of `results` into `readme`."""
    table = figures(json.loads((results / "results.json").read_text()))
    readme.write_text(with_figures(readme.read_text(), table))


if __name__ == "__main__":
    main()
