"""The service's metrics: one registry per application, written in one place (`Metrics.observe`).

With several workers every process writes its values to files in `runtime_dir` (prometheus_client's
multiprocess mode, chosen by PROMETHEUS_MULTIPROC_DIR before the import), and any worker answers `/metrics`
for all.
"""

import os
import re
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service.exchange import Exchange

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Seconds. A bank read or a run of the graph takes tens of microseconds, a request a few hundred.
BUCKETS = (
    0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075,
    0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.5,
)  # fmt: skip
_STAGE_BUCKETS = (0.00001, 0.00002, 0.00003, 0.00005, *BUCKETS)
_CANDIDATES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_GAUGE_OF_PROCESS = re.compile(r"gauge_live\w*_(?P<pid>\d+)\.db$")


class Metrics:
    """Every metric of one application. `shared` is the multiprocess directory, None with one worker."""

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        registry = self._registry = CollectorRegistry()
        if shared is None:
            ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"userip_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"userip_{name}", text, labels, buckets=buckets, registry=registry)

        self._requests = counter("http_requests", "Requests answered.", "route", "method", "status")
        self._seconds = histogram("http_request_seconds", "Time to answer.", BUCKETS, "route")
        self._shed = counter("shed", "Requests refused because too many were in flight.")
        self._profiles = counter("profiles", "Profiles looked up, by outcome.", "outcome")
        self._corrupt = counter("corrupt_records", "Bank records that were damaged or impossible.")
        self._bank_failures = counter("bank_failures", "Bank reads that gave nothing, by reason.", "reason")
        self._bank_seconds = histogram("bank_read_seconds", "Time of one bank read.", _STAGE_BUCKETS)
        self._score_seconds = histogram("score_seconds", "Time of one run of the graph.", _STAGE_BUCKETS)
        self._candidates = histogram("candidates", "Candidates of one run of the graph.", _CANDIDATES)
        self._unknown_items = counter("unknown_items", "Candidates that the release does not know.")
        self._unknown_context = counter("unknown_context_values", "Context values that the release does not know.")
        self._reloads = counter("reloads", "Reloads of the release directory, by outcome.", "outcome")
        self._in_flight = Gauge("userip_in_flight", "Requests at work.", registry=registry, multiprocess_mode="livesum")
        self._release = Gauge(
            "userip_release_loaded_timestamp_seconds",
            "When the served release was loaded; 0 = replaced since.",
            ("release",),
            registry=registry,
            multiprocess_mode="livemax",
        )

    def entered(self) -> None:
        """Count a request in."""
        self._in_flight.inc()

    def observe(self, exchange: Exchange, seconds: float) -> None:
        """Count a request out, with everything that is known of it."""
        self._in_flight.dec()
        method = exchange.method if exchange.method in _METHODS else "other"
        self._requests.labels(exchange.route, method, str(exchange.status)).inc()
        self._seconds.labels(exchange.route).observe(seconds)
        if exchange.shed:
            self._shed.inc()
        facts = exchange.facts
        for outcome in facts.outcomes:
            self._profiles.labels(outcome).inc()
        if facts.bank_seconds is not None:
            self._bank_seconds.observe(facts.bank_seconds)
        if facts.bank_failure is not None:
            self._bank_failures.labels(facts.bank_failure).inc()
        if facts.corrupt:
            self._corrupt.inc(facts.corrupt)
        if facts.score_seconds is not None:
            self._score_seconds.observe(facts.score_seconds)
            self._candidates.observe(facts.candidates)
        if facts.unknown_items:
            self._unknown_items.inc(facts.unknown_items)
        if facts.unknown_context:
            self._unknown_context.inc(facts.unknown_context)

    def reloaded(self, *, ok: bool) -> None:
        """Count a reload."""
        self._reloads.labels("done" if ok else "failed").inc()

    def serving(self, release: str, since: float, before: str | None = None) -> None:
        """Note which release is served; the one before gets 0, since its files of other workers remain."""
        if before is not None and before != release:
            self._release.labels(before).set(0)
        self._release.labels(release).set(since)

    def render(self) -> bytes:
        """All metrics in the text format, of all workers."""
        if self._shared is None:
            return generate_latest(self._registry)
        _forget_dead(self._shared)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=str(self._shared))  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def leave(self) -> None:
        """Withdraw this worker's live gauges at its end."""
        if self._shared is not None:
            mark_process_dead(os.getpid(), str(self._shared))  # type: ignore[no-untyped-call]


def _forget_dead(shared: Path) -> None:
    """Withdraw the live gauges of workers that were killed and could not do it themselves."""
    for path in shared.iterdir():
        found = _GAUGE_OF_PROCESS.match(path.name)
        if found and not Path(f"/proc/{found['pid']}").exists() and Path("/proc/self").exists():
            mark_process_dead(int(found["pid"]), str(shared))  # type: ignore[no-untyped-call]
