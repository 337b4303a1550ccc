"""Shows everything that is known about a stream."""

from __future__ import annotations

import json
from typing import Any

from ...log.publisher_ids import parse_producer, parse_publisher_id
from ...publish.failing_host import failing_attempt
from ..columns import Columns
from ..exits import Exit
from ..output import Output, say
from ..text import shown, shown_json
from .connection import open_client
from .executions import members_of, seconds, state_of
from .rendering import Style, causes, failure_of
from .report import Report, Run, examine


async def inspect(workflow_id: str, run_id: str | None, *, as_json: bool) -> int:
    """Write everything that is known about a stream; return the exit status."""
    output = Output()
    client = await open_client()
    report = await examine(client, workflow_id, run_id)
    if as_json:
        text = json.dumps(members(report), ensure_ascii=False, separators=(",", ":"))
        output.line(shown_json(text))
    else:
        output.write(text_of(report, output.style))
    if report.host is None and report.run.polled:
        say("no worker answers, so whether and how temporalio's contrib hosts this is not known")
    elif report.host is None:
        say("no worker has opened the stream yet")
    return Exit.DONE


def members(report: Report) -> dict[str, Any]:
    """Return everything as one JSON object."""
    described, fold = report.described, report.run.fold
    found: dict[str, Any] = {
        "id": described.id,
        "type": described.workflow_type,
        "task_queue": described.task_queue,
        **members_of(described),
        "host": report.host,
        "head": report.head,
        "base": report.base,
        "runs": [_run(run) for run in report.runs],
        "topics": {
            topic: {"items": items, "bytes": report.topic_bytes[topic]}
            for topic, items in sorted(report.topics.items())
        },
        "publishers": _publishers(report),
        "batches": dict(sorted(report.verdicts.items())),
        "rewinds": report.rewinds,
    }
    if attempt := failing_attempt(described):
        found["task_attempt"] = attempt
    if fold is not None and fold.keep_last is not None:
        found["keep_last"] = fold.keep_last
    if report.run.rules is not None:
        found["content_type"] = report.run.rules.content_type
    if report.end is not None and report.end.failure is not None:
        found["failure"] = failure_of(report.end.failure)
    if fold is not None and fold.closed:
        found["closed_by_writer"] = True
    return found


def text_of(report: Report, style: Style) -> str:
    """Return everything as lines and tables."""
    described, found = report.described, members(report)
    attempt = found.get("task_attempt")
    base = "not known" if report.base is None else str(report.base)
    if report.head is not None and report.base is not None:
        base += f", {report.head - report.base} item(s) retained"
    facts = {
        "state": state_of(found),
        "failure": shown(causes(report.end.failure)) if report.end and report.end.failure else "",
        "task": f"failed or timed out; at attempt {attempt}" if attempt else "",
        "type": f"{shown(described.workflow_type)} on task queue {shown(described.task_queue)}",
        "host": report.host or "not known",
        "head": "not known" if report.head is None else str(report.head),
        "base": base,
        "keeps": f"the last {found['keep_last']} item(s)" if "keep_last" in found else "",
        "content": shown(found.get("content_type", "")),
        "closed": "by a writer" if "closed_by_writer" in found else "",
        "batches": _listed(found["batches"]),
        "rewinds": str(report.rewinds) if report.rewinds else "",
    }
    parts = [f"{style(shown(described.id), 'bold')}\n"]
    parts += [f"  {style(name.ljust(8), 'dim')}  {fact}\n" for name, fact in facts.items() if fact]
    parts += [f"\n{table}" for table in _tables(found, style) if table]
    return "".join(parts)


def _tables(found: dict[str, Any], style: Style) -> list[str]:
    runs = Columns(
        "RUN", "FROM", "STATE", "EVENTS", "BYTES", "STARTED", right=["FROM", "EVENTS", "BYTES"]
    )
    run_rows = [
        [
            run["run_id"],
            _cell(run["first_offset"]),
            state_of(run),
            *(_cell(run.get(key)) for key in ("events", "size_bytes")),
            seconds(run.get("started")),
        ]
        for run in found["runs"]
    ]
    topics = Columns("TOPIC", "ITEMS", "BYTES", right=["ITEMS", "BYTES"])
    topic_rows = [
        [shown(topic), str(counts["items"]), str(counts["bytes"])]
        for topic, counts in found["topics"].items()
    ]
    publishers = Columns("PUBLISHER", "LAST BATCH", "ITEMS", "ID", right=["LAST BATCH", "ITEMS"])
    publisher_rows = [
        [
            shown(_described(publisher)),
            _cell(publisher["sequence"]),
            str(publisher["items"]),
            shown(publisher["publisher_id"] or "-"),
        ]
        for publisher in found["publishers"]
    ]
    return [
        table.lines(rows, style=style) if rows else ""
        for table, rows in (
            (runs, run_rows),
            (topics, topic_rows),
            (publishers, publisher_rows),
        )
    ]


def _run(run: Run) -> dict[str, Any]:
    known: dict[str, Any] = {"run_id": run.run_id, "first_offset": run.first_offset}
    if run.described is None:
        return known | {"state": "expired", "outcome": None}
    return known | members_of(run.described)


def _publishers(report: Report) -> list[dict[str, Any]]:
    fold = report.run.fold
    sequences = {} if fold is None else fold.publishers
    ids: list[str | None] = [*sequences]
    ids += [known for known in report.published if known not in sequences]
    return [_publisher(publisher_id, report) for publisher_id in ids]


def _publisher(publisher_id: str | None, report: Report) -> dict[str, Any]:
    fold = report.run.fold
    assert fold is not None
    found: dict[str, Any] = {
        "publisher_id": publisher_id,
        "kind": "workflow" if publisher_id is None else "client",
        "sequence": fold.publishers.get(publisher_id or ""),
        "items": report.published[publisher_id],
    }
    if activity := parse_publisher_id(publisher_id or ""):
        found |= {
            "kind": "activity",
            "activity_id": activity.activity_id,
            "activity_run_id": activity.run_id,
            "attempt": activity.attempt.number,
            "superseded": fold.fenced(publisher_id or ""),
        }
    elif producer := parse_producer(publisher_id or ""):
        found |= {
            "kind": "producer",
            "producer_id": producer.producer_id,
            "epoch": producer.epoch,
        }
    return found


def _described(publisher: dict[str, Any]) -> str:
    match publisher["kind"]:
        case "activity":
            over = ", superseded" if publisher["superseded"] else ""
            return f"attempt {publisher['attempt']} of activity {publisher['activity_id']}{over}"
        case "producer":
            return f"epoch {publisher['epoch']} of producer {publisher['producer_id']}"
        case "workflow":
            return "the workflow itself"
        case _:
            return "a client"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
