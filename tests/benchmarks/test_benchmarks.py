"""The benchmark runs on what is installed, and writes what the README quotes."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import benchmarks.__main__ as command
from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.children import Memory
from benchmarks.measures import growth

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


def measure(folder: Path, name: str) -> tuple[list[list[str]], dict[str, Any]]:
    """Run one measure with hardly any load; return the cells of its table, and its result."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", name, "--tiny", "--output", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert ran.returncode == 0, ran.stderr
    page = (folder / "results.md").read_text()
    assert page in ran.stdout
    head, rule, *rows = [line for line in page.splitlines() if line.startswith("|")]
    assert head == "| measure | ours | contrib | floor | ratio | goal |  |"
    assert rule == "|" + "---|" * 7
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert {row[6] for row in cells} <= {"met", "**missed**"}
    content = json.loads((folder / "results.json").read_text())
    [result] = content["results"]
    assert content["size"] == "tiny"
    assert (result["name"], result["broken"]) == (name, False)
    assert [line["measure"] for line in result["lines"]] == [row[0] for row in cells]
    return cells, result


def test_latency_has_its_table_figures_and_plot(tmp_path: Path) -> None:
    cells, result = measure(tmp_path, "latency")
    assert [row[0] for row in cells] == [
        "latency, 1 reader, an item each 150 ms, p50",
        "the same beside the floor",
    ]
    # Every item came, once, on each side: that is what the readers check before they report.
    counts = {side: len(figures["ms"]) for side, figures in result["figures"].items()}
    assert counts == {"ours": 3, "contrib": 3, "floor": 3}, result["notes"]
    assert not [note for note in result["notes"] if "complete" in note]
    assert (tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")


def test_start_measures_both_libraries(tmp_path: Path) -> None:
    [row], result = measure(tmp_path, "start")
    assert row[0] == "start of a workflow with a stream, to its result, no plugin, p50"
    assert list(result["figures"]) == ["ours", "contrib", "plugin"]
    assert all(took > 0 for took in result["figures"].values())


def test_growth_measures_time_and_the_memory_of_each_process(tmp_path: Path) -> None:
    cells, result = measure(tmp_path, "growth")
    assert [row[0] for row in cells] == [
        "growth: items/s with 200 / 2,000 items across rollovers",
        "growth: peak memory of the worker",
        "growth: peak memory of the reader",
        "growth: peak memory of the publisher",
    ]
    for sizes in result["figures"].values():
        assert [size["items"] for size in sizes] == [200, 2_000]
        assert all(size["rate"] > 0 for size in sizes)
        for process in ("worker", "reader", "publisher"):
            assert all(size[f"{process}_rss"] > 1_000_000 for size in sizes)
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_idle_streams_are_all_held_by_one_worker(tmp_path: Path) -> None:
    [row], result = measure(tmp_path, "idle")
    assert row[0] == "memory of a worker with 5 idle streams of 500 items each"
    assert row[2].endswith(", extrapolated")
    for found in result["figures"].values():
        assert 1_000_000 < found["before"] <= found["highest"]
        assert 0 < found["idle"] <= found["highest"]


def test_items_of_all_publishers_come_and_their_signals_are_counted(tmp_path: Path) -> None:
    cells, result = measure(tmp_path, "publishers")
    assert cells[0][0] == "signals of 1, 30, 100 publishers of one process, an item each 50 ms, 1 s"
    for count, found in result["figures"].items():
        assert len(found["ms"]) == int(count) * 20, result["notes"]
        assert 0 < found["signals"] < int(count) * 20


def test_readers_of_more_streams_than_calls_may_wait_get_everything(tmp_path: Path) -> None:
    cells, result = measure(tmp_path, "many-streams")
    assert cells[0][0] == "6 streams, an item each 4 s, where 30 calls may wait: complete"
    assert (cells[0][1], cells[0][6]) == ("6 of 6 complete", "met")
    for where in ("elsewhere", "here"):
        assert len(result["figures"]["idle"][where]) == 20


def test_memory_that_reaches_its_level_is_told_from_memory_that_grows() -> None:
    memory = Memory()
    began = time.monotonic_ns()
    memory.sample(100)
    assert memory.peak(began) == memory.peak() == 100
    assert memory.peak(0, began - 1) == 0
    assert growth.Peaks(start=60, first=150, second=160).growth <= growth.PLATEAU
    # What each item leaves behind has doubled, however little it is beside the rest.
    assert growth.Peaks(start=60, first=110, second=160).growth > growth.PLATEAU


def test_viewers_are_all_served(tmp_path: Path) -> None:
    cells, _ = measure(tmp_path, "fan-out")
    complete = [row for row in cells if row[5] == "all"]
    assert len(complete) == 2
    assert [row[6] for row in complete] == ["met", "met"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for results in place of the repository's, with measures that are quick."""

    async def measure(bench: object, name: str) -> report.Result:
        return report.Result(name, name, [report.Line(name, "1")])

    quick = {name: functools.partial(measure, name=name) for name in ("one", "two")}
    monkeypatch.setattr(command, "MEASURES", quick)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "PARTIAL", tmp_path / "partial")
    return tmp_path


def names(folder: Path) -> list[str]:
    content = json.loads((folder / "results.json").read_text())
    return [result["name"] for result in content["results"]]


def test_only_a_full_run_is_kept_with_the_results(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    assert names(folder) == ["one", "two"]
    assert capsys.readouterr().out.endswith(f"; written to {folder}\n")
    for partial in (["two"], ["--quick"]):
        assert main(partial) == 0
        assert names(folder) == ["one", "two"]
        assert json.loads((folder / "results.json").read_text())["size"] == "full"
        assert names(folder / "partial") == (["two"] if partial == ["two"] else ["one", "two"])
        told = f"written to {folder / 'partial'} ({folder} keeps the last full run)\n"
        assert capsys.readouterr().out.endswith(told)


def test_an_unknown_measure_is_refused_with_the_names_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["speed"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "no such measure: speed" in error
    assert "latency-fast" in error
