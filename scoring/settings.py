"""Settings of scoring: plain values, made from `service.settings`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ReleaseSettings:
    """Which release to begin with; with `follows` the bank's active one, if a directory of it is here."""

    bank_url: str
    release_dir: Path
    releases_dir: Path | None
    follows: bool
    largest: int  # candidates of one request: the graph is warmed up with so many
    shared: Path | None = None  # where workers share copies of tables (`release.private_copy`)


@dataclass(frozen=True, slots=True)
class LookupSettings:
    """Where records are read, how long that may take, and what is done when the bank does not answer."""

    bank_url: str
    deadline_s: float
    connections: int
    cache_records: int
    cache_ttl_s: float
    breaker_failures: int
    breaker_retry_s: float
