"""The benchmark runs on what is installed, and writes what the README quotes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main

ROOT = Path(__file__).parents[2]


def test_a_measure_prints_and_writes_its_table_figures_and_plot(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "latency", "--tiny", "--output", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    page = (tmp_path / "results.md").read_text()
    assert page in ran.stdout
    head, rule, *rows = [line for line in page.splitlines() if line.startswith("|")]
    assert head == "| measure | ours | contrib | floor | ratio | goal |  |"
    assert rule == "|" + "---|" * 7
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == [
        "latency, 1 reader, an item each 150 ms, p50",
        "the same beside the floor",
    ]
    assert {row[6] for row in cells} <= {"met", "**missed**"}

    content = json.loads((tmp_path / "results.json").read_text())
    [result] = content["results"]
    assert content["size"] == "tiny"
    assert [line["measure"] for line in result["lines"]] == [row[0] for row in cells]
    # Every item came, once, on each side: that is what the readers check before they report.
    counts = {side: len(figures["ms"]) for side, figures in result["figures"].items()}
    assert counts == {"ours": 3, "contrib": 3, "floor": 3}
    assert not [note for note in result["notes"] if "complete" in note]
    assert (tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_measure_is_refused_with_the_names_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["speed"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "no such measure: speed" in error
    assert "latency-fast" in error
