"""Counters for Prometheus: requests, latencies, events, what is served. Labels never hold ids or words of shoppers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
        self.running = Gauge("tasteprint_requests_running", "Requests being answered.", registry=self.registry)
        self.items = Gauge("tasteprint_items", "Items of the served version.", registry=self.registry)
        self.swaps = Gauge("tasteprint_version_swaps", "Versions exchanged since the start.", registry=self.registry)
        self.failures = Gauge(
            "tasteprint_version_failures", "Versions that could not be opened.", registry=self.registry
        )
        self.histories = Gauge("tasteprint_histories", "Histories in memory.", registry=self.registry)
        self.lost = Gauge("tasteprint_shown_lost", "Answers that were not written down.", registry=self.registry)
        self.cache_hits = Gauge(
            "tasteprint_query_cache_hits", "Queries whose vector was known.", registry=self.registry
        )

    def page(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
