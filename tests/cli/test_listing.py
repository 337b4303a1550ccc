"""`ls` finds streams, each once; `inspect` tells what there is to know about one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError

from workflow_streams import WorkflowStreamClient
from workflow_streams.cli.actions.ls import visibility_query
from workflow_streams.hosted.host import (
    HostSetup,
    start_host,
)
from workflow_streams.hosted.worker import host_worker
from workflow_streams.log import wire
from workflow_streams.log.publisher_ids import ActivityPublisher, Attempt, Producer

from .command import Cli, Done, until
from .hosts import Handle, Streams, batch, json_item


async def until_head(client: Client, handle: Handle, head: int) -> None:
    stream = WorkflowStreamClient.create(client, handle.id)

    async def there() -> bool:
        return await stream.get_offset() == head

    await until(there)


async def listed(client: Client, handles: list[Handle], query: str) -> None:
    """Wait until a list filter finds these."""

    async def all_there() -> bool:
        found = {execution.id async for execution in client.list_workflows(query)}
        return {handle.id for handle in handles} <= found

    await until(all_there)


def ids(done: Done) -> list[str]:
    assert (done.status, done.err) == (0, "")
    return [found["id"].rpartition("-")[2] for found in done.objects]


async def test_streams_are_listed_once_each_those_that_go_on_first(
    cli: Cli, streams: Streams
) -> None:
    client, mine = streams.client, f"TaskQueue = '{streams.queue}'"
    ended = await streams.start("ended", "a")
    await ended.result()
    running = await streams.start("running", "a", rolls=2, stays=True)
    old = await streams.start_contrib("old", "a")
    await streams.start_streamless("streamless")
    again = await streams.start("ended", "b", fails=True)
    await until_head(client, running, 3)
    await listed(client, [running, old], f"{mine} AND ExecutionStatus = 'Running'")
    await listed(client, [again], f"{mine} AND ExecutionStatus = 'Failed'")
    done = await asyncio.gather(
        *(
            cli("ls", "--json", "--query", mine, *args)
            for args in ((), ("--running",), ("--closed",), ("--contrib", "ContribHost"))
        ),
        cli("ls", "--query", mine, "--contrib", "ContribHost", "--all"),
        cli("ls", "--query", mine, "--limit", "1"),
        cli("ls", "--query", f"{mine} AND WorkflowId = 'none'"),
        cli("ls", "--query", "nonsense ="),
        cli("ls", "--running", "--closed"),
    )
    *found, with_old = [ids(one) for one in done[:4]]
    assert found == [["running", "ended"], ["running"], ["ended"]]
    assert (sorted(with_old[:2]), with_old[2:]) == (["old", "running"], ["ended"])
    first = done[2].objects[0]
    assert datetime.fromisoformat(first.pop("started")) < datetime.fromisoformat(first["closed"])
    assert first.pop("size_bytes") > 0
    assert first.pop("events") > 5
    del first["closed"]
    assert first == {
        "id": again.id,
        "type": "Host",
        "task_queue": streams.queue,
        "run_id": again.first_execution_run_id,
        "state": "closed",
        "outcome": "failed",
        "host": "workflow_streams",
    }
    lines = [line.split() for line in done[4].out.splitlines()]
    assert lines[0] == ["ID", "STATE", "TYPE", "HOST", "STARTED", "CLOSED", "EVENTS"]
    assert sorted([line[0].rpartition("-")[2], *line[1:4]] for line in lines[1:]) == [
        ["ended", "failed", "Host", "workflow_streams"],
        ["old", "running", "ContribHost", "contrib"],
        ["running", "running", "Host", "workflow_streams"],
    ]
    assert [line[5:] for line in lines[1:3]] == [["-", "-"]] * 2
    assert done[5].out.count("\n") == 2
    assert done[5].err == "workflow-streams: there are more than 1; --limit shows more\n"
    assert (done[6].out, done[6].err) == ("", "workflow-streams: there are none\n")
    assert done[7].status == 2
    assert done[7].err.startswith("workflow-streams: the server refuses the filter: ")
    assert done[8].status == 2


async def test_what_the_gateway_has_deleted_is_not_listed(
    cli: Cli, client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("deleted")
    setup = HostSetup("text/plain", deleted=True)
    async with host_worker(client, task_queue=name):
        await start_host(client, name, setup, task_queue=name)
        handle = client.get_workflow_handle(name)
        await handle.result()
    query = f"WorkflowId = '{name}'"
    await listed(client, [handle], f"{query} AND TemporalChangeVersion = '{wire.PATCH_ID}'")
    done = await cli("ls", "--json", "--query", query)
    assert (done.status, done.out, done.err) == (0, "", "")


def test_names_in_a_filter_are_quoted() -> None:
    assert visibility_query("all", ["A'B"], "C = 1") == (
        f"(TemporalChangeVersion = '{wire.PATCH_ID}' OR WorkflowType = 'A\\'B') "
        "AND ExecutionStatus != 'ContinuedAsNew' AND (C = 1)"
    )


async def test_inspect_tells_all_there_is_to_know(cli: Cli, streams: Streams) -> None:
    first, second = (
        ActivityPublisher("run", "7", Attempt(number, number)).publisher_id("x")
        for number in (1, 2)
    )
    producer = Producer("till", 3).publisher_id
    one = json_item("1")
    host = await streams.start(
        "inspected", *"ab", rolls=1, stays=True, last=["z"], truncate=1, fails=True
    )
    await until_head(streams.client, host, 4)  # in the second run
    for given in (
        batch(("t", one), ("t", one), publisher=first, sequence=1),
        batch(("t", one), publisher=second, sequence=1),
        batch(("t", one), publisher=first, sequence=2),
        batch(("u", one), publisher=producer, sequence=1),
        batch(("u", one), publisher=producer, sequence=1),
        batch(("u", one), publisher=producer, sequence=5),
        batch(("u", one)),
        {"items": "none"},
    ):
        await streams.client.get_workflow_handle(host.id).signal(wire.PUBLISH_SIGNAL, given)
    await streams.client.get_workflow_handle(host.id).signal("go")
    with pytest.raises(WorkflowFailureError):
        await host.result()
    objects, text = await asyncio.gather(cli("inspect", host.id, "--json"), cli("inspect", host.id))
    assert (objects.status, objects.err, text.status, text.err) == (0, "", 0, "")
    [found] = objects.objects
    runs, topics = found["runs"], found["topics"]
    last_run = runs[-1]
    assert found == {
        "id": host.id,
        "type": "Host",
        "task_queue": streams.queue,
        **{key: value for key, value in last_run.items() if key != "first_offset"},
        "host": "workflow_streams",
        "head": 10,
        "base": 1,
        "runs": runs,
        "topics": topics,
        "publishers": [
            of_activity(first, 1, items=2, superseded=True),
            of_activity(second, 2, items=1, superseded=False),
            {
                "publisher_id": producer,
                "kind": "producer",
                "sequence": 1,
                "items": 1,
                "producer_id": "till",
                "epoch": 3,
            },
            {"publisher_id": None, "kind": "workflow", "sequence": None, "items": 3},
            {"publisher_id": "", "kind": "client", "sequence": None, "items": 1},
        ],
        "batches": {
            "accepted": 4,
            "duplicate": 1,
            "fenced": 1,
            "malformed": 1,
            "out_of_sequence": 1,
        },
        "rewinds": 1,
        "failure": {
            "type": "PrinterError",
            "message": "PrinterError: out of ink",
            "cause": {"type": "ValueError", "message": "ValueError: cyan"},
        },
    }
    assert [(run["run_id"], run["first_offset"], run["outcome"]) for run in runs] == [
        (host.first_execution_run_id, 0, "continued_as_new"),
        (last_run["run_id"], 2, "failed"),
    ]
    assert all(run["events"] > 5 and run["size_bytes"] > 100 for run in runs)
    assert {name: counts["items"] for name, counts in topics.items()} == {"own": 3, "t": 3, "u": 2}
    assert all(0 < counts["bytes"] < 200 for counts in topics.values())
    run_lines = [
        f"{run['run_id']}  {run['first_offset']:>4}  {run['outcome']:<16}  {run['events']:>6}  "
        f"{run['size_bytes']:>5}  {run['started'][:19]}Z"
        for run in runs
    ]
    topic_lines = [
        f"{name:<5}  {counts['items']:>5}  {counts['bytes']:>5}" for name, counts in topics.items()
    ]
    assert (
        text.out
        == f"""\
{host.id}
  state     failed
  failure   PrinterError: out of ink: ValueError: cyan
  type      Host on task queue {streams.queue}
  host      workflow_streams
  head      10
  base      1, 9 item(s) retained
  batches   4 accepted, 1 duplicate, 1 fenced, 1 malformed, 1 out of sequence
  rewinds   1

{"RUN":<36}  FROM  {"STATE":<16}  EVENTS  BYTES  STARTED
{run_lines[0]}
{run_lines[1]}

TOPIC  ITEMS  BYTES
{topic_lines[0]}
{topic_lines[1]}
{topic_lines[2]}

PUBLISHER                            LAST BATCH  ITEMS  ID
attempt 1 of activity 7, superseded           1      2  {first}
attempt 2 of activity 7                       1      1  {second}
epoch 3 of producer till                      1      1  {producer}
the workflow itself                           -      3  -
a client                                      -      1  -
"""
    )


def of_activity(publisher_id: str, attempt: int, *, items: int, superseded: bool) -> dict[str, Any]:
    return {
        "publisher_id": publisher_id,
        "kind": "activity",
        "sequence": 1,
        "items": items,
        "activity_id": "7",
        "activity_run_id": "run",
        "attempt": attempt,
        "superseded": superseded,
    }


async def test_inspect_knows_streams_of_the_contrib_and_what_is_no_stream(
    cli: Cli, streams: Streams, client: Client
) -> None:
    old = await streams.start_contrib("old", *"abc")
    streamless = await streams.start_streamless("streamless")
    unopened = await client.start_workflow(
        "Host", id=f"{streams.queue}-unopened", task_queue="nobody"
    )
    done = await asyncio.gather(
        *(cli("inspect", h.id, "--json") for h in (old, streamless, unopened)),
        cli("inspect", f"{streams.queue}-nobody"),
    )
    assert [one.status for one in done] == [0, 3, 0, 3]
    said = [one.err.removeprefix("workflow-streams: ") for one in done]
    assert said[0] == ""
    assert said[1].startswith(f"Workflow '{streamless.id}': hosts no stream: ")
    assert said[2] == "no worker has opened the stream yet\n"
    assert said[3].startswith(f"Workflow '{streams.queue}-nobody': not found: ")
    known = [{k: one.objects[0][k] for k in ("host", "head", "base")} for one in done[::2]]
    assert known == [
        {"host": "contrib", "head": 3, "base": 0},
        {"host": None, "head": None, "base": None},
    ]
