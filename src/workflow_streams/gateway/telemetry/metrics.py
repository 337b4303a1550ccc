"""What the gateway counts, for Prometheus. docs/metrics.md says what each metric means.

No label takes values that clients or streams choose, such as workflow ids, topics, subjects or
paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

Mode = Literal["catch-up", "long-poll", "sse"]
LeaveReason = Literal["end", "client", "expired", "recycled", "slow", "shutdown", "error"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"})


@dataclass(eq=False, slots=True)
class Viewer:
    """A live connection, as the metrics see it.

    Attributes:
        mode: How it reads.
        lag: Returns how many items it is behind the head, when asked.
    """

    mode: Mode
    lag: Callable[[], int]


class Metrics:
    """The metrics of one gateway application, in a registry of its own."""

    def __init__(self, *, readers: Callable[[], int] = lambda: 0) -> None:
        """Start from zero.

        Args:
            readers: Returns how many history readers are running.
        """
        self.registry = CollectorRegistry()
        self._viewers: set[Viewer] = set()
        self.registry.register(_Live(self._viewers, readers))
        ProcessCollector(registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"workflow_streams_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            full = f"workflow_streams_{name}"
            return Histogram(full, text, labels, registry=self.registry, buckets=_SECONDS)

        self.items = counter("items_sent", "Items sent to readers", "mode")
        self.bytes = counter("item_bytes_sent", "Bytes of items sent to readers", "mode")
        self.gaps = counter("gaps", "Gaps told to readers", "reason")
        self.rewinds = counter("rewinds", "Rewinds told to readers", "reason")
        self.reconnects = counter(
            "viewer_reconnects", "Live reads that resume at an offset", "mode"
        )
        self.left = counter("viewers_left", "Live connections that ended", "mode", "reason")
        self.appends = counter("appends", "Appends by the fold's verdict", "verdict")
        self.append_bytes = counter("append_bytes", "Bytes of accepted appends")
        self.failing_appends = counter(
            "failing_host_appends", "Appends to streams whose workflow's task has failed"
        )
        self.failed_touches = counter(
            "failed_touches", "Times that a stream could not be told that it is read"
        )
        self.refused = counter("requests_refused", "Requests refused", "reason")
        self.reader_retries = counter("reader_retries", "Reads of history made again", "code")
        self.http_requests = counter(
            "http_requests", "Requests answered", "method", "route", "status"
        )
        self.http_seconds = histogram(
            "http_response_start_seconds", "Time to the first byte of the answer", "method", "route"
        )
        self.http_open = Gauge(
            "workflow_streams_http_connections", "Requests in progress", registry=self.registry
        )
        self.rpc_seconds = histogram(
            "temporal_rpc_seconds", "Time of calls to Temporal", "call", "code"
        )

    @contextmanager
    def viewer(self, mode: Mode, lag: Callable[[], int]) -> Iterator[Viewer]:
        """Count a live connection while it lasts.

        Args:
            mode: How it reads.
            lag: Returns how many items it is behind; called when the metrics are read.
        """
        viewer = Viewer(mode, lag)
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request as in progress while it lasts."""
        self.http_open.inc()
        try:
            yield
        finally:
            self.http_open.dec()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer.

        Args:
            method: The method; those that HTTP does not define count as ``other``.
            route: The route's template, never the path.
            status: HTTP status.
            seconds: Time from the request's head to the answer's.
        """
        known = method if method in _METHODS else "other"
        self.http_requests.labels(known, route, str(status)).inc()
        self.http_seconds.labels(known, route).observe(seconds)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their content type, in the format that ``accept`` asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _Live(Collector):
    """Metrics that are computed when they are read."""

    def __init__(self, viewers: set[Viewer], readers: Callable[[], int]) -> None:
        self._viewers = viewers
        self._readers = readers

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "workflow_streams_readers", "Streams whose history is followed", self._readers()
        )
        viewers = GaugeMetricFamily("workflow_streams_viewers", "Live connections", labels=["mode"])
        lag = GaugeMetricFamily(
            "workflow_streams_viewer_lag_items",
            "Items that live connections are behind the head: the most, and the mean",
            labels=["mode", "of"],
        )
        for mode in ("long-poll", "sse"):
            lags = [viewer.lag() for viewer in self._viewers if viewer.mode == mode]
            viewers.add_metric([mode], len(lags))
            lag.add_metric([mode, "max"], max(lags, default=0))
            lag.add_metric([mode, "mean"], sum(lags) / len(lags) if lags else 0.0)
        yield viewers
        yield lag
