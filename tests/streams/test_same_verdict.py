"""Whatever a publish signal holds, the workflow and its readers judge it alike."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from temporalio.client import Client
from temporalio.common import RawValue

from tests.read.hosts import hosting
from tests.read.story import items, roll_over, send, story
from tests.texts import entry_json
from workflow_streams.log import wire
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload

ITEM = entry_json(*entry_of("out", json_payload(b'"odd"')))


def odd(field: str) -> bytes:
    """A batch of one item with a further field."""
    return f'{{"items":[{ITEM}],"publisher_id":"","sequence":1,"more":{field}}}'.encode()


def nested(depth: int) -> str:
    """Brackets in brackets: `depth` levels, with the batch around them."""
    return "[" * (depth - 1) + "]" * (depth - 1)


# What it is, and whether it is a batch.
ARGUMENTS = [
    (odd(nested(32)), True),
    *[(odd(nested(depth)), False) for depth in (33, 400, 850, 900, 950, 990, 5_000, 200_000)],
    (odd('{"a":' * 950 + "1" + "}" * 950), False),
    (f'{{"items":{nested(950)}}}'.encode(), False),
    (f'{{"part":[0,1],"tag":"t","text":"","items":{nested(950)}}}'.encode(), False),
    (odd("1" * 100), True),
    (odd("1" * 101), False),
    (odd("1" * 4_301), False),
    (odd("NaN"), False),
    (odd("-Infinity"), False),
    (odd("1e999"), True),
    (odd('"\\ud800"'), True),
    (b"\xff\xfe[\x00]\x00", False),
    (b"\xef\xbb\xbf" + odd("1"), False),
    (b"\xed\xa0\x80", False),
]


async def test_the_workflow_counts_as_its_readers_do(
    client: Client, unique: Callable[[str], str]
) -> None:
    """Else the next run would not begin where the reader has come to, which is an error."""
    name = unique("odd")
    async with hosting(client, name) as handle:
        for data, _ in ARGUMENTS:
            message = RawValue(json_payload(data))
            await handle.signal(wire.PUBLISH_SIGNAL, message)
        taken = sum(batch for _, batch in ARGUMENTS)
        assert await send(client, name, "before") == [taken]
        assert await handle.query(wire.OFFSET_QUERY) == taken + 1
        await roll_over(handle)
        assert await send(client, name, "after") == [taken + 1]
        await handle.signal("order", "finish")
        await handle.result()
    end = ("end", "completed", taken + 2)
    assert await story(client, name) == [*items(*["odd"] * taken, "before", "after"), end]


@pytest.mark.processes
@pytest.mark.parametrize(
    "settings",
    [
        "sys.setrecursionlimit(20_000)",
        "sys.setrecursionlimit(200)",
        "sys.set_int_max_str_digits(0)",
        "sys.set_int_max_str_digits(640)",
    ],
)
def test_no_setting_of_a_process_decides(settings: str) -> None:
    judge = (
        "import sys\n"
        "from tests.streams.test_same_verdict import ARGUMENTS\n"
        "from workflow_streams.log.batches import parse_signal\n"
        "from workflow_streams.log.payloads import json_payload\n"
        f"{settings}\n"
        "for data, batch in ARGUMENTS:\n"
        "    judged = parse_signal(json_payload(data)) is not None\n"
        "    assert judged == batch, data[:100]\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", judge], env=environment, timeout=250, check=False)
    assert done.returncode == 0
