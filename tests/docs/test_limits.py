"""The page of limits says what the code says, and leaves no limit out."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import math
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from workflow_streams.gateway import GatewaySettings
from workflow_streams.gateway.layers.limit_settings import LimitSettings

from .markdown import ROOT

PAGE = (ROOT / "docs" / "limits.md").read_text()
SOURCE = ROOT / "src" / "workflow_streams"
STATIC = SOURCE / "gateway" / "viewer" / "static"

# A number, with what comes after it in the comment: where it stands in the code.
MARKED = re.compile(r"([^|<>\n]*)<!-- ([\w./ ]+) -->")
LIMIT = re.compile(r"_?(DEFAULT_)?(MAX|MOST)(_\w+)?|_?\w*_BYTES")

# Sizes that something is reckoned with, or from which on something else is done: no limits.
OTHERS = {
    "cli.actions.payloads._EXCERPT_BYTES",
    "gateway.formats.json_text._SHALLOW_BYTES",
    "gateway.layers.cors._MAX_AGE_SECONDS",
    "gateway.reading.shared_frames._FRAME_BYTES",
    "gateway.security.settings.MIN_SECRET_BYTES",
    "gateway.security.signing.MOST_SECONDS",
    "gateway.settings.GatewaySettings.compress_from_bytes",
    "gateway.writing.bodies._LARGE_BYTES",
    "gateway.writing.bodies._MOST_AT_ONCE",
    "gateway.writing.bodies._MOST_COMMAS",
    "hosted.appends._ITEM_BYTES",
    "log.packed._CUT_BYTES",
    "log.strict_json._MOST_OF",  # told by docs/wire.md
    "hosted.forks.COPY_BYTES",
    "hosted.making._BATCH_BYTES",
    "host.hand_over.SURE_TAIL_BYTES",
    "host.hand_over._CLOSED_BYTES",
    "host.hand_over._COUNTERS_BYTES",
    "host.hand_over.ITEM_BYTES",
    "host.hand_over._ORDER_BYTES",
    "host.hand_over._PUBLISHER_BYTES",
    "host.hand_over._RUN_BYTES",
    "host.hand_over._EXECUTION_BYTES",
    "publish.host_check._MOST_LOOKS",
    "publish.pacing._LEAST_BYTES",
    "publish.pacing._LOOK_EVERY_BYTES",
    "publish.pacing._UNWATCHED_BYTES",
    "log.binary.MOST_NUMBER",
    "log.binary._MOST_NUMBER_BYTES",
    "log.entries.ENTRY_BYTES",
    "log.packed._TRIED_BYTES",
    "log.positions._CHAIN_BYTES",
    "log.positions._UUID_BYTES",
    "read.history.pages._MOST_REFUSALS",
    "read.moments._ENTRY_BYTES",
    "read.moments._MOMENT_BYTES",
    "read.moments._RANGE_BYTES",
    "read.runs.history_run._ENTRY_BYTES",
}


def marked() -> list[tuple[str, str]]:
    """Each number on the page, as it stands there, and its constant's name."""
    return [(match[1], match[2]) for match in MARKED.finditer(PAGE)]


def value_of(name: str) -> Any:
    """What a constant of Python, a setting's default, or a constant of the page is."""
    if ".js " in name:
        file, _, constant = name.partition(" ")
        found = re.search(rf"const {constant} = ([\d_* ]+);", (STATIC / file).read_text())
        assert found, name
        return math.prod(int(factor) for factor in found[1].split("*"))
    module, _, constant = name.rpartition(".")
    owner, _, last = module.rpartition(".")
    if last[:1].isupper():
        settings = getattr(importlib.import_module(f"workflow_streams.{owner}"), last)
        if not isinstance(settings, type):
            return getattr(settings, constant)
        return next(f.default for f in dataclasses.fields(settings) if f.name == constant)
    return getattr(importlib.import_module(f"workflow_streams.{module}"), constant)


def texts_for(value: Any, name: str) -> set[str]:
    """In which ways the page may say a value."""
    if value is None:
        return {"no limit"}
    if isinstance(value, timedelta) or "seconds" in name.lower():
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        texts = {f"{seconds:g} s"}
        texts |= {f"{seconds / 60:g} min"} if seconds % 60 == 0 else set()
        return texts | ({f"{seconds / 3600:g} h"} if seconds % 3600 == 0 else set())
    texts = {f"{value:,}"}
    if "bytes" in name.lower():
        for unit, size in (("KiB", 1024), ("MiB", 1024**2), ("MB", 1_000_000)):
            texts |= {f"{value // size} {unit}"} if value % size == 0 else set()
    return texts


@pytest.mark.parametrize(("text", "name"), marked(), ids=[name for _, name in marked()])
def test_each_number_is_that_of_the_code(text: str, name: str) -> None:
    said = " ".join(text.split())
    number = re.search(r"(no limit|[\d,]+( KiB| MiB| MB| s| min| h)?)$", said)
    assert number, f"no number before {name}"
    assert number[1] in texts_for(value_of(name), name)


def test_each_limit_of_the_code_is_on_the_page() -> None:
    told = {name for _, name in marked()}
    limits = set(constants(SOURCE)) | set(settings())
    assert limits - told - OTHERS == set()
    assert limits >= OTHERS
    assert not told & OTHERS


def constants(folder: Path) -> list[str]:
    """The names of all constants that look like a limit."""
    found: list[str] = []
    for path in sorted(folder.rglob("*.py")):
        module = path.relative_to(folder).with_suffix("").as_posix().replace("/", ".")
        for node in ast.parse(path.read_text()).body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]):
                    pass
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                    pass
                case _:
                    continue
            if LIMIT.fullmatch(name):
                found.append(f"{module}.{name}")
            if name.endswith("_BOUNDS"):
                bounds = value_of(f"{module}.{name}")
                found += [f"{module}.{name}.{f.name}" for f in dataclasses.fields(bounds)]
    return found


def settings() -> list[str]:
    """The names of the gateway's settings that are a limit."""
    names = [
        f"limit_settings.LimitSettings.{field.name}" for field in dataclasses.fields(LimitSettings)
    ]
    sizes = [f.name for f in dataclasses.fields(GatewaySettings) if f.name.endswith("_bytes")]
    found = [f"gateway.layers.{name}" for name in names]
    return [*found, *(f"gateway.settings.GatewaySettings.{name}" for name in sizes)]
