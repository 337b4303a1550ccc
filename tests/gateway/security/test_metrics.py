"""Metrics count what happens, are documented one by one, and have no label without bounds."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client import Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from workflow_streams.gateway.security import Secret, SecuritySettings
from workflow_streams.gateway.telemetry.metrics import Metrics
from workflow_streams.gateway.telemetry.rpc_metrics import metered, timed

from .issuing import SECRET, token
from .layered import Layered
from .wire import exchange, get, serving

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"


def families(text: str) -> dict[str, set[str]]:
    """The names of what stands in an exposition, with their labels."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        found[family.name] = labels
    return found


def filled() -> Metrics:
    """Metrics in which everything has been counted once."""
    metrics = Metrics(readers=lambda: 2)
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Histogram) and metric._labelnames:
            child = metric.labels(*["x"] * len(metric._labelnames))
            child.observe(1) if isinstance(child, Histogram) else child.inc()
    return metrics


def text_of(metrics: Metrics) -> str:
    body, content_type = metrics.render("")
    assert content_type.startswith("text/plain")
    return body.decode()


def test_every_metric_is_documented_with_its_labels_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \|([^|]*)\|", DOCS.read_text(), re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, _, labels in rows}
    told = {n: labels for n, labels in families(text_of(filled())).items()
            if n.startswith("workflow_streams_") and not n.endswith("_created")}  # fmt: skip
    # Counters are asked for, and documented, with the ending that they are exposed with.
    kinds = {name: kind for name, kind, _ in rows}
    expected = {
        name.removesuffix("_total") if kinds[name] == "counter" else name: labels
        for name, labels in documented.items()
    }
    assert expected == told


def test_viewers_and_their_lag_are_what_they_are_when_asked() -> None:
    metrics = Metrics(readers=lambda: 2)
    value = metrics.registry.get_sample_value
    lag = [5]
    assert value("workflow_streams_readers") == 2
    with metrics.viewer("sse", lambda: lag[0]), metrics.viewer("sse", lambda: 1):
        with metrics.viewer("long-poll", lambda: 9):
            assert value("workflow_streams_viewers", {"mode": "sse"}) == 2
            assert value("workflow_streams_viewers", {"mode": "long-poll"}) == 1
        lag[0] = 7
        assert value("workflow_streams_viewer_lag_items", {"mode": "sse", "of": "max"}) == 7
        assert value("workflow_streams_viewer_lag_items", {"mode": "sse", "of": "mean"}) == 4
    for mode in ("sse", "long-poll"):
        assert value("workflow_streams_viewers", {"mode": mode}) == 0
        assert value("workflow_streams_viewer_lag_items", {"mode": mode, "of": "max"}) == 0


def test_a_viewer_is_counted_out_however_it_leaves() -> None:
    metrics = Metrics()
    for how in (RuntimeError, asyncio.CancelledError, GeneratorExit):
        with pytest.raises(how), metrics.viewer("sse", lambda: 0), metrics.request():
            raise how
    assert metrics.registry.get_sample_value("workflow_streams_viewers", {"mode": "sse"}) == 0
    assert metrics.registry.get_sample_value("workflow_streams_http_connections") == 0


def test_two_gateways_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.refused.labels("forbidden").inc()
    name, labels = "workflow_streams_requests_refused_total", {"reason": "forbidden"}
    assert one.registry.get_sample_value(name, labels) == 1
    assert other.registry.get_sample_value(name, labels) is None


async def test_metrics_are_for_those_who_may_see_them() -> None:
    security = SecuritySettings(jwt_secret=Secret(SECRET))
    layered = Layered(security=security)
    allowed = token(streams=[{"actions": ["metrics"]}])
    async with serving(layered.app) as port:
        for headers, status in [
            ([], 401),
            ([f"authorization: Bearer {token()}"], 403),
            ([f"authorization: Bearer {allowed}"], 200),
        ]:
            answer = await exchange(port, get("/metrics", *headers))
            assert answer.status == status
            assert answer.header("cache-control") == "no-store"
        accept = "accept: application/openmetrics-text; version=1.0.0"
        answer = await exchange(port, get("/metrics", accept, f"authorization: Bearer {allowed}"))
        assert (answer.header("content-type") or "").startswith("application/openmetrics-text")
        assert answer.body.endswith(b"# EOF\n")
    refused = "workflow_streams_requests_refused_total"
    assert layered.value(refused, reason="authentication-required") == 1
    assert layered.value(refused, reason="forbidden") == 1


async def test_hostile_requests_add_no_labels_of_their_own() -> None:
    layered = Layered(security=SecuritySettings(allow_anonymous=True))
    async with serving(layered.app, http="h11") as port:
        for i in range(20):
            await exchange(port, get(f"/items/{i}?topic={i}"))
            await exchange(port, get(f"/nothing/{i}"))
            await exchange(port, get("/items/a", f"x-request-id: request-{i}", method=f"M{i}"))
    text = text_of(layered.metrics)
    counted = [line for line in text.splitlines() if line.startswith("workflow_streams_http_req")]
    assert len([line for line in counted if "_total{" in line]) == 3
    assert {line.rpartition(" ")[2] for line in counted if "_total{" in line} == {"20.0"}


def count(metrics: Metrics, call: str, code: str) -> float:
    labels = {"call": call, "code": code}
    return (
        metrics.registry.get_sample_value("workflow_streams_temporal_rpc_seconds_count", labels)
        or 0
    )


async def test_calls_to_temporal_are_timed_by_kind_and_outcome(client: Client) -> None:
    metrics = Metrics()
    timed_client = metered(client, metrics)
    assert timed_client.service_client is client.service_client
    handle = timed_client.get_workflow_handle("there-is-no-such-workflow")
    calls = {
        "signal": lambda: handle.signal("x"),
        "describe": lambda: handle.describe(),
        "cancel": lambda: handle.cancel(),
        "terminate": lambda: handle.terminate(),
        "query": lambda: handle.query("x"),
        "update": lambda: handle.execute_update("x"),
    }
    for name, call in calls.items():
        with pytest.raises((RPCError, WorkflowFailureError)):
            await call()
        assert count(metrics, name, "NOT_FOUND") == 1
    for waits, name in [(True, "history_wait"), (False, "history")]:
        pages = handle.fetch_history_events(wait_new_event=waits)
        with pytest.raises(RPCError):
            await pages.fetch_next_page()
        assert count(metrics, name, "NOT_FOUND") == 1
    retried = metrics.registry.get_sample_value(
        "workflow_streams_reader_retries_total", {"code": "NOT_FOUND"}
    )
    assert retried is None


async def test_a_history_read_through_the_meter_is_the_same(client: Client, unique: object) -> None:
    assert callable(unique)
    metrics = Metrics()
    timed_client = metered(client, metrics)
    started = await timed_client.start_workflow("Unknown", id=unique("metered"), task_queue="none")
    assert count(metrics, "start", "OK") == 1
    pages = started.fetch_history_events()
    await pages.fetch_next_page()
    plain = client.get_workflow_handle(started.id).fetch_history_events()
    await plain.fetch_next_page()
    assert pages.current_page == plain.current_page
    assert pages.next_page_token == plain.next_page_token is None
    assert count(metrics, "history", "OK") == 1
    iterated = [event.event_id async for event in started.fetch_history_events()]
    assert iterated == [event.event_id for event in plain.current_page or ()]
    await started.terminate()


def test_what_is_no_answer_of_the_server_is_counted_as_other() -> None:
    metrics = Metrics()
    for error in (TimeoutError, asyncio.CancelledError):
        with pytest.raises(error), timed(metrics, "signal"):
            raise error
    assert count(metrics, "signal", "OTHER") == 2
