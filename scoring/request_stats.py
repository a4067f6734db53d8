"""What is noted while a request is answered. A new counter is one field: metrics, access log and traces show it.

retries: int = counter("Bank reads that were tried again.")            userip_retries_total
hits: int = counter("...", "cache_lookups", result="hit")              userip_cache_lookups_total{result="hit"}
mood: str = reason("...", "moods", "mood")                             userip_moods_total{mood=...}
"""

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

_CACHE = "Lookups in the worker's cache: hit, miss, or stale where the bank failed."


class Counter(NamedTuple):
    """How a field is counted. `value` is the label's, None where it is what stands in the field (`reason`)."""

    field: str
    metric: str
    text: str
    label: str | None = None
    value: str | None = None


def counter(text: str, metric: str = "", **label: str) -> Any:  # noqa: ANN401  # a field of a dataclass
    """A number that is added to `metric` (default: the field's name), under at most one label."""
    assert len(label) <= 1
    name, value = next(iter(label.items()), (None, None))
    return field(default=0, metadata={"counter": Counter("", metric, text, name, value)})


def reason(text: str, metric: str, label: str) -> Any:  # noqa: ANN401  # a field of a dataclass
    """A word under which `metric` counts one, as the value of `label`; an empty one counts nothing."""
    return field(default="", metadata={"counter": Counter("", metric, text, label)})


@dataclass(slots=True, eq=False)
class RequestStats:
    """What happened while one request was answered. `stages`: decode, lookup, score, encode: seconds."""

    release: str = ""
    outcomes: list[str] = field(default_factory=list)  # of each profile: known, default, unavailable
    candidates: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    encoded: float = 0.0  # time.perf_counter() when the answer was ready
    cache_hits: int = counter(_CACHE, "cache_lookups", result="hit")
    cache_misses: int = counter(_CACHE, "cache_lookups", result="miss")
    cache_stale: int = counter(_CACHE, "cache_lookups", result="stale")
    replica_lookups: int = counter("Lookups in the replica, after cache and bank failed.")
    bank_failure: str = reason(
        "Bank reads that failed: unavailable, refused, no_release, error, breaker.", "bank_failures", "reason"
    )
    corrupt_records: int = counter(
        "Damaged bank records; served with the default profile.",
    )
    unknown_items: int = counter("Candidates that the release does not know.")
    unknown_context_values: int = counter("Context values that the release does not know.")

    def counted(self) -> list[tuple[Counter, Any]]:
        """What there is to count: every counter that is not 0 or empty, with what stands in it."""
        return [(of, value) for of in counters(type(self)) if (value := getattr(self, of.field))]


def counters(kind: type[RequestStats]) -> tuple[Counter, ...]:
    """The counters that a kind of record declares, in their order."""
    if (found := _DECLARED.get(kind)) is None:
        found = _DECLARED[kind] = tuple(
            declared._replace(field=each.name, metric=declared.metric or each.name)
            for each in fields(kind)
            if (declared := each.metadata.get("counter")) is not None
        )
    return found


_DECLARED: dict[type[RequestStats], tuple[Counter, ...]] = {}  # asked at the end of every request
