"""Metrics for Prometheus, summed over all workers."""

from __future__ import annotations

import os
import threading
from typing import Optional
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from .logs import LEVELS

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UNMATCHED = "unmatched"

#: The answers that exist from the start, so that a rate of errors is 0 and not "no data".
EXPECTED = {
    "/": (200, 500),
    "/view": (200, 400, 500, 503),
    "/health": (200, 503),
    "/info": (200, 500),
    "/metrics": (200,),
    UNMATCHED: (404,),
}
_LABELS = ("method", "endpoint", "status")


class Metrics:
    """All series of one worker."""

    def __init__(self, version: str) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._make(Counter, "http_requests_total", "Requests answered.", _LABELS)
        self._durations = self._make(
            Histogram, "http_request_duration_seconds", "Time to answer a request.", _LABELS, buckets=BUCKETS
        )
        self._logged = self._make(Counter, "app_log_messages_total", "Lines logged, by level.", ("level",))
        self.database_errors = self._make(Counter, "app_database_errors_total", "Failures of the database.")
        self._visits: Optional[Gauge] = None
        self._lock = threading.Lock()
        info = self._make(Gauge, "app_info", "The version that runs; always 1.", ("version",), multiprocess_mode="max")
        info.labels(version).set(1)
        for level in LEVELS:
            self._logged.labels(level)
        for endpoint, statuses in EXPECTED.items():
            self._durations.labels("GET", endpoint, str(statuses[0]))
            for status in statuses:
                self._requests.labels("GET", endpoint, str(status))

    def request(self, labels: tuple[str, str, int], seconds: float) -> None:
        """Counts one answer: method, endpoint and status, and how long it took."""
        method, endpoint, status = labels
        values = (method if method in METHODS else "other", endpoint, str(status))
        self._requests.labels(*values).inc()
        self._durations.labels(*values).observe(seconds)

    def logged(self, level: str) -> None:
        """Counts one log line."""
        self._logged.labels(level).inc()

    def visits(self, total: int) -> None:
        """Notes the visit count that the database holds."""
        with self._lock:
            if self._visits is None:
                # Made late, because a 0 before the first look at the database would read as a reset.
                self._visits = self._make(
                    Gauge, "app_visits_total", "Visits that the database holds.", multiprocess_mode="mostrecent"
                )
        self._visits.set(total)

    def render(self) -> bytes:
        """All series of all workers in Prometheus' text format."""
        source: Collector = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            source = MultiProcessCollector(CollectorRegistry())
        return generate_latest(_VisitsAsCounter(source))

    def _make(self, kind, name: str, text: str, labels: Iterable[str] = (), **options):
        return kind(name, text, labels, registry=self._registry, **options)


class _VisitsAsCounter(Collector):
    """Shows the visit count as the counter that it is; the library cannot set a counter to a value."""

    def __init__(self, source: Collector) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        for metric in self._source.collect():
            if metric.name == "app_visits_total":
                counter = Metric("app_visits", metric.documentation, "counter")
                counter.samples = metric.samples
                metric = counter
            yield metric
