"""The service's metrics: what there is, as data, and the one place that counts (`Metrics.observe`).

Counts are plain numbers of this process, since a dozen of them are added to in every request; prometheus_client
turns them into text when somebody asks. Workers of one service write theirs to a directory now and then
(`service.observe.metrics_files`), and any of them answers `/metrics` for all.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from userip.scoring.request_stats import counters
from userip.service.auth.rate_limit import RateLimit
from userip.service.observe.metrics_files import Counts, Labels, MetricsFiles
from userip.service.observe.request_record import RequestRecord

V = TypeVar("V")
Freshness = Literal["records_updated_timestamp_seconds", "replica_updated_timestamp_seconds"]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Seconds. A bank read or a run of the graph takes tens of microseconds, a request a few hundred.
BUCKETS: Final = (
    0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075,
    0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.5,
)  # fmt: skip
STAGE_BUCKETS: Final = (0.00001, 0.00002, 0.00003, 0.00005, *BUCKETS)
CANDIDATES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0)
DIFFERENCES: Final = (1e-6, 1e-5, 1e-4, 0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
# The text is made anew as often as a few scrapers ask; from then on it is at most a second old.
_RENDERED_A_SECOND, _RENDERED_AT_ONCE = 1.0, 10
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Definition(NamedTuple):
    """One metric, without the prefix `userip_`. A gauge of several workers is their sum, or their maximum."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    kind: Literal["counter", "sum", "max", "histogram"] = "counter"
    buckets: tuple[float, ...] = ()


_OWN: Final = (
    Definition("http_requests", "Requests answered.", ("route", "method", "status")),
    Definition(
        "http_request_duration_seconds",
        "Time to answer: ok, refused (4xx), failed (5xx), shed (under load).",
        ("route", "outcome"),
        "histogram",
        BUCKETS,
    ),
    Definition(
        "stage_duration_seconds",
        "Time of a request's stage: queue, decode, lookup, score, encode.",
        ("stage",),
        "histogram",
        STAGE_BUCKETS,
    ),
    Definition("candidates", "Candidates of one run of the graph.", (), "histogram", CANDIDATES),
    Definition("in_flight", "Requests at work.", (), "sum"),
    Definition(
        "offered_work_seconds",
        "Offered load: seconds of a worker's time that requests cost or, if shed, would have cost.",
    ),
    Definition(
        "key_requests",
        "Requests by API key (its id), and what became of them: accepted, rate_limited, forbidden, unauthorized.",
        ("key", "outcome"),
    ),
    Definition("profile_lookups", "Profiles looked up: known, default, unavailable.", ("outcome",)),
    Definition("reloads", "Reloads of the release directory: done, failed.", ("outcome",)),
    Definition("release_loaded_timestamp_seconds", "When the served release was loaded.", ("release",), "max"),
    Definition("release_created_timestamp_seconds", "When the served release was exported.", ("release",), "max"),
    Definition("build_info", "Always 1; the label tells the version.", ("version",), "max"),
    Definition(
        "records_updated_timestamp_seconds", "When the records of the served release last changed.", ("release",), "max"
    ),
    Definition(
        "replica_updated_timestamp_seconds",
        "When the records in this machine's replica last changed.",
        ("release",),
        "max",
    ),
    Definition("shadow_requests", "Requests for the shadow release: compared, dropped, failed.", ("outcome",)),
    Definition(
        "shadow_difference", "How far the shadow's probability is from the served one.", (), "histogram", DIFFERENCES
    ),
    Definition("release_outdated", "1 while a worker serves another release than the active or wanted one.", (), "max"),
    Definition("workers", "Workers that answer.", (), "sum"),
    Definition("connections_refused", "Connections closed at once, since next to no file descriptor is left."),
)


def definitions(kind: type[RequestRecord]) -> tuple[Definition, ...]:
    """All metrics: those above, and one for the counters of such records that share its name."""
    declared = {each.metric: each for each in reversed(counters(kind))}
    return _OWN + tuple(
        Definition(metric, each.text, () if each.label is None else (each.label,)) for metric, each in declared.items()
    )


DEFINITIONS: Final = definitions(RequestRecord)
# Former names, exported as well for one release.
_FORMER: Final = {
    "http_request_duration_seconds": "http_request_seconds",
    "stage_duration_seconds": "stage_seconds",
    "offered_work_seconds": "asked_seconds",
    "profile_lookups": "profiles",
    "release_outdated": "release_behind",
}
_OF_RELEASE: Final = ("release_loaded_timestamp_seconds", "release_created_timestamp_seconds")
_OUTCOMES: Final = ("", "ok", "ok", "ok", "refused", "failed")  # by the first digit of the status
_BOUNDS: Final = {definition.name: definition.buckets for definition in DEFINITIONS}


class Metrics(Collector):
    """Every metric of one application. `shared` is the directory of its workers, None with one worker."""

    def __init__(
        self, shared: Path | None = None, version: str = "0", kind: type[RequestRecord] = RequestRecord
    ) -> None:
        self._definitions = definitions(kind)
        self._files = None if shared is None else MetricsFiles(shared)
        self._counters: defaultdict[tuple[str, Labels], float] = defaultdict(float)
        self._gauges: dict[tuple[str, Labels], float] = {("in_flight", ()): 0.0, ("workers", ()): 1.0}
        self._gauges["build_info", (version,)] = 1.0
        self._histograms: dict[tuple[str, Labels], list[float]] = {}
        for definition in self._definitions:
            if definition.kind == "counter" and not definition.labels:
                self._counters[definition.name, ()] = 0.0  # there from the start: a rate needs a first value
        self._registry = CollectorRegistry()
        if self._files is None:
            ProcessCollector(registry=self._registry)
        self._registry.register(self)
        self._rendered, self._renderings = b"", RateLimit(_RENDERED_A_SECOND, _RENDERED_AT_ONCE)

    def entered(self) -> None:
        """Count a request in."""
        self._gauges["in_flight", ()] += 1

    def observe(self, record: RequestRecord, seconds: float) -> None:
        """Count a request out, with everything that is known of it."""
        self._gauges["in_flight", ()] -= 1
        count = self._counters
        method = record.method if record.method in _METHODS else "other"
        count["http_requests", (record.route, method, str(record.status))] += 1
        outcome = "shed" if record.shed else _OUTCOMES[record.status // 100]
        self._record("http_request_duration_seconds", (record.route, outcome), seconds)
        for outcome in record.outcomes:
            count["profile_lookups", (outcome,)] += 1
        for stage, took in record.stages.items():
            self._record("stage_duration_seconds", (stage,), took)
        if record.candidates:
            self._record("candidates", (), record.candidates)
        if record.key is not None or record.refused:
            key = "none" if record.key is None else record.key.id
            count["key_requests", (key, record.refused or "accepted")] += 1
        for counter, value in record.counted():
            if counter.label is None:
                count[counter.metric, ()] += value
            elif counter.value is None:  # a reason
                count[counter.metric, (value,)] += 1
            else:
                count[counter.metric, (counter.value,)] += value

    def offered(self, seconds: float) -> None:
        """Count what a request costs, before it is taken on or refused."""
        self._counters["offered_work_seconds", ()] += seconds

    def refused(self, route: str, method: str, status: int, reason: str = "") -> None:
        """Count a request that ended before it began: refused under load for this reason, or its client left."""
        count = self._counters
        count["http_requests", (route, method if method in _METHODS else "other", str(status))] += 1
        if reason:
            count["shed", (reason,)] += 1
            self._record("http_request_duration_seconds", (route, "shed"), 0.0)

    def reloaded(self, *, ok: bool) -> None:
        """Count a reload."""
        self._counters["reloads", ("done" if ok else "failed",)] += 1

    def shadowed(self, outcome: str, differences: NDArray[np.float64] | None = None) -> None:
        """Count a request that the shadow was to score, and the absolute differences that it found."""
        self._counters["shadow_requests", (outcome,)] += 1
        for difference in () if differences is None else differences.tolist():
            self._record("shadow_difference", (), difference)

    def outdated(self, outdated: bool) -> None:
        """Note whether another release ought to be served than is."""
        self._gauges["release_outdated", ()] = float(outdated)

    def serving(self, release: str, loaded: float, created: str) -> None:
        """Note which release is served from now on: when it was loaded, in unix seconds, and exported, in ISO 8601."""
        for key in [key for key in self._gauges if key[0] in _OF_RELEASE]:
            del self._gauges[key]
        times = (loaded, _unix_time(created))
        self._gauges |= {(name, (release,)): time for name, time in zip(_OF_RELEASE, times, strict=True) if time}

    def updated(self, gauge: Freshness, release: str, at: float | None) -> None:
        """Note when the records of the served release last changed, in unix seconds; None where nobody knows."""
        for key in [key for key in self._gauges if key[0] == gauge]:
            del self._gauges[key]
        if at is not None:
            self._gauges[gauge, (release,)] = at

    def share(self) -> None:
        """Let the other workers know what this one counted."""
        if self._files is not None:
            self._files.write(self._counts())

    def leave(self) -> None:
        """Share for the last time: what was counted stays, what is live ends with this worker."""
        self._gauges.clear()
        self.share()

    def connection_refused(self) -> None:
        """Count a connection for which there was no file descriptor to spare."""
        self._counters["connections_refused", ()] += 1

    def render(self) -> bytes:
        """All metrics in the text format, of all workers."""
        return generate_latest(self._registry)

    def recent(self, now: float) -> bytes:
        """The same, of up to a second before `now` for whoever asks on and on: to render takes milliseconds."""
        if not self._renderings.wait("", None, now):
            self._rendered = self.render()
        return self._rendered

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks for when it renders."""
        everybody = [self._counts(), *(self._files.others() if self._files is not None else ())]
        for definition in self._definitions:
            yield _family(definition, everybody)
            if former := _FORMER.get(definition.name):
                yield _family(definition, everybody, former)

    def _record(self, name: str, labels: Labels, value: float) -> None:
        """Add to a histogram: a count per bucket, one for what is above all, and the sum of the values."""
        cell = self._histograms.get((name, labels))
        if cell is None:
            cell = self._histograms[name, labels] = [0.0] * (len(_BOUNDS[name]) + 2)
        cell[bisect_left(_BOUNDS[name], value)] += 1
        cell[-1] += value

    def _counts(self) -> Counts:
        return Counts(_listed(self._counters), _listed(self._gauges), _listed(self._histograms))


def _unix_time(iso: str) -> float | None:
    """The time in unix seconds; one without a zone is UTC, and what is no time at all is left out."""
    try:
        time = datetime.fromisoformat(iso)
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _family(definition: Definition, everybody: Iterable[Counts], called: str = "") -> Metric:
    name, text = f"userip_{called or definition.name}", definition.text
    if definition.kind == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=definition.labels)
        cells: dict[Labels, list[float]] = {}
        for counts in everybody:
            for labels, cell in _of(counts.histograms, definition.name):
                cells[labels] = [a + b for a, b in zip(cells.get(labels, [0.0] * len(cell)), cell, strict=True)]
        for labels, cell in cells.items():
            histogram.add_metric(labels, _cumulative(definition.buckets, cell), sum_value=cell[-1])
        return histogram
    kind = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
    family = kind(name, text, labels=definition.labels)
    values: dict[Labels, float] = {}
    for counts in everybody:
        for labels, value in _of(counts.counters if definition.kind == "counter" else counts.gauges, definition.name):
            before = values.get(labels, 0.0)
            values[labels] = max(before, value) if definition.kind == "max" else before + value
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _listed(cells: Mapping[tuple[str, Labels], V]) -> list[tuple[str, Labels, V]]:
    return [(name, labels, value) for (name, labels), value in cells.items()]


def _of(cells: Iterable[tuple[str, Labels, V]], name: str) -> list[tuple[Labels, V]]:
    return [(labels, value) for of, labels, value in cells if of == name]


def _cumulative(bounds: tuple[float, ...], cell: list[float]) -> list[tuple[str, float]]:
    total, buckets = 0.0, []
    for bound, count in zip((*bounds, float("inf")), cell[:-1], strict=True):
        total += count
        buckets.append((floatToGoString(bound), total))  # type: ignore[no-untyped-call]
    return buckets
