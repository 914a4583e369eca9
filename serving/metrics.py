"""Counters for Prometheus: requests, latencies, events, what is served. Labels never hold ids or words of shoppers.

With several workers each writes its own counts to files of one folder, which ``PROMETHEUS_MULTIPROC_DIR`` names before
the client library is imported; a page read from any of them then tells of all together.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable that makes counts shared; the client library reads it when it is imported."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tasteprint_requests", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "tasteprint_request_seconds", "Time to answer.", ["route"], buckets=_BUCKETS, registry=self.registry
        )
        self.events = Counter("tasteprint_events_received", "Events received.", registry=self.registry)
        self.running = self._gauge("requests_running", "Requests being answered.", "livesum")
        self.items = self._gauge("items", "Items of the served version; the fewest of any worker.", "livemin")
        self.swaps = self._gauge("version_swaps", "Versions exchanged since the start.", "livemax")
        self.failures = self._gauge("version_failures", "Versions that could not be opened.", "livemax")
        self.keys = self._gauge("keys", "API keys that are known; the fewest of any worker.", "livemin")
        self.keys_failures = self._gauge("keys_failures", "Times that a changed keys file was no good.", "livemax")
        self.histories = self._gauge("histories", "Histories in memory.", "livesum")
        self.lost = self._gauge("shown_lost", "Answers that were not written down.", "sum")
        self.cache_hits = self._gauge("query_cache_hits", "Queries that were read before.", "livesum")
        self.encoder_runs = self._gauge("encoder_runs", "Times that queries were embedded.", "livesum")
        self.encoder_asked = self._gauge("encoder_asked", "Requests that they were embedded for.", "livesum")
        self.store_runs = self._gauge("event_transactions", "Transactions that stored events.", "livesum")
        self.store_asked = self._gauge("event_requests", "Requests whose events they stored.", "livesum")
        self.memory = self._gauge("memory_bytes", "Memory of the workers' own, without mapped files.", "livesum")
        self.mapped = self._gauge("mapped_bytes", "Mapped files in memory; each worker counts its view.", "livesum")
        self.workers = self._gauge("workers", "Worker processes.", "livesum")

    def page(self) -> bytes:
        """All of them in Prometheus' text format."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)

    def _gauge(self, name: str, says: str, of_workers: str) -> Gauge:
        return Gauge(f"tasteprint_{name}", says, registry=self.registry, multiprocess_mode=of_workers)  # type: ignore[arg-type]


def forget_worker(pid: int) -> None:
    """Leave a worker that has ended out of what tells of those alive."""
    mark_process_dead(pid)
