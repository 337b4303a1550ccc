"""The README quotes the last full benchmark, and nothing else."""

from __future__ import annotations

import json

from benchmarks.readme import BEGIN, END, README, figures, with_figures
from benchmarks.report import RESULTS


def test_the_figures_in_the_readme_are_those_of_the_results() -> None:
    results = json.loads((RESULTS / "results.json").read_text())
    assert results["size"] == "full"
    text = README.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert with_figures(text, figures(results)) == text
