"""Bytes that are no text are refused as wrong use, whichever argument they are given as."""

from __future__ import annotations

import os
from typing import cast

import pytest

from .command import Cli

pytestmark = pytest.mark.processes

NO_TEXT = os.fsdecode(b"\xed\xa0\x80")


@pytest.mark.parametrize(
    "arguments",
    [
        ("tail", NO_TEXT),
        ("tail", ""),
        ("tail", "n", "--topic", NO_TEXT),
        ("tail", "n", "--run-id", NO_TEXT),
        ("tail", "n", "--namespace", NO_TEXT),
        ("publish", NO_TEXT, "t", "v"),
        ("publish", "n", NO_TEXT, "v"),
        ("inspect", NO_TEXT),
        ("ls", "--query", NO_TEXT),
        ("ls", "--contrib", NO_TEXT),
        ("dev", "--namespace", NO_TEXT),
        ("gateway", "--host-task-queue", NO_TEXT),
    ],
    ids=lambda arguments: " ".join(cast("tuple[str, ...]", arguments)).replace(NO_TEXT, "?"),
)
async def test_it_is_wrong_use(arguments: tuple[str, ...]) -> None:
    done = await Cli(None)(*arguments)
    assert (done.status, done.out) == (2, "")
    assert "Traceback" not in done.err
    assert "is not UTF-8" in done.err or "is empty" in done.err
