"""Imports only go down: from room to room, and never in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "workflow_streams"

# From the ground up. A room may use what is below it, and nothing beside it.
FLOORS = (
    ("errors",),
    ("log",),
    ("arguments", "events"),
    ("temporal",),
    ("topics",),
    ("embedded", "host", "read"),
    ("publish",),
    ("hosted", "topic_handle"),
    ("client",),
    ("__init__",),
    ("gateway", "testing"),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in SOURCE.rglob("*.py")
}


def module_named(name: str) -> str | None:
    """Return the module of a dotted name below the package; None if it names none."""
    for candidate in (name, f"{name}.__init__".lstrip(".")):
        if candidate in MODULES:
            return candidate
    return None


def imports(module: str) -> Iterator[str]:
    """Yield what a module imports of this package, also for type checkers only."""
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = package[: len(package) - node.level + 1]
            name = ".".join([*base, *([node.module] if node.module else [])])
        elif node.module is not None and node.module.split(".")[0] == "workflow_streams":
            name = node.module.partition(".")[2]
        else:
            continue
        for alias in node.names:
            found = module_named(f"{name}.{alias.name}".lstrip(".")) or module_named(name)
            assert found is not None, f"{module}: {name}"
            if found != module:
                yield found


def room_of(module: str) -> str:
    return module.split(".")[0]


def test_each_room_has_its_floor() -> None:
    assert {room_of(module) for module in MODULES} == set(FLOOR)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    here = room_of(module)
    up = [
        other
        for other in imports(module)
        if room_of(other) != here and FLOOR[room_of(other)] >= FLOOR[here]
    ]
    assert up == []


def test_no_import_goes_in_a_circle() -> None:
    graph = {module: set(imports(module)) for module in MODULES}
    # A package is entered by its modules.
    for module in MODULES:
        if module.endswith(".__init__"):
            graph[module].discard(module)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        pytest.fail(" -> ".join(err.args[1]))


@pytest.mark.parametrize("room", FLOOR)
def test_the_folders_of_a_room_do_not_import_each_other_in_a_circle(room: str) -> None:
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        if room_of(module) != room or (folder := folder_of(module)) is None:
            continue
        others = {folder_of(other) for other in imports(module) if room_of(other) == room}
        graph.setdefault(folder, set()).update(others - {None, folder})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        pytest.fail(" -> ".join(err.args[1]))


def folder_of(module: str) -> str | None:
    """Return the folder within its room in which a module stands, if it stands in one."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 else None


# What turns a client into a source, for those that ask for one.
DOORS = {"read.arrival"}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("read.")])
def test_only_the_source_of_a_stream_knows_that_it_is_a_history(module: str) -> None:
    if module.startswith(("read.runs.", "read.history.")) or module in DOORS:
        return
    of_temporal = [name for name in imports(module) if name.startswith(("read.runs", "read.hist"))]
    assert of_temporal == []
    assert "temporalio.client" not in MODULES[module].read_text()
