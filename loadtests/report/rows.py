"""The rows of the bench, validated, of four kinds.

LoadRow        one window of load on one variant: any row that is none of the others
InProcessRow   `generator` is "in-process": seconds per 10,000 instances, without HTTP
ScaleRow       `scenario` begins with "bank": a bank of so many users
ReleaseRow     `scenario` begins with "release": a release of so many users and items
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from userip.loadtests.errors import BenchInputError


class _Row(BaseModel):
    """Keys that the report does not show are welcome, and stand in latency.json all the same."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    scenario: str
    repeat: int = 0


class LoadRow(_Row):
    """A window of load. `rate` is None in a closed loop; a figure is None where nothing was answered or counted.

    Milliseconds; requests per second; shares of one core; MiB; `quantiles` are (share, ms) in ascending order.
    `failures` counts failed requests by kind; `apart`: service and load had cores of their own.
    """

    variant: str
    route: str
    candidates: int
    rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    throughput: float
    failed: int
    generator: str
    connections: int
    workers: int
    cache: str
    batch: int = 1
    requests: int = 0
    verified: int = 0
    wrong: int = 0
    late_ms: float | None = None
    generator_cpu: float | None = None
    server_cpu: float | None = None
    rss_mb: float | None = None
    quantiles: tuple[tuple[float, float], ...] = ()
    failures: dict[str, int] = {}
    apart: bool = True


class InProcessRow(_Row):
    """Seconds per 10,000 user-item pairs, lookup included, in requests of `candidates` each."""

    variant: str
    candidates: int
    seconds_per_10k: float


class ScaleRow(_Row):
    """A bank of `users`: bytes each, users published per second, a lookup's microseconds, the publisher's MiB."""

    bank: str
    users: int
    bytes_per_user: float | None = None
    slots: int | None = None
    publish_per_s: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    publisher_mb: float | None = None

    @property
    def variant(self) -> str:
        """What its curve is called: the bank."""
        return self.bank


class ReleaseRow(_Row):
    """A release: MiB of its files, seconds to load it, MiB of one and of two workers, microseconds of a request.

    rss is what the workers map, summed; pss counts what they share once.
    """

    users: int
    items: int
    files_mb: float | None = None
    load_s: float | None = None
    rss_mb_1: float | None = None
    rss_mb_2: float | None = None
    pss_mb_2: float | None = None
    p50_us: float | None = None


Row = LoadRow | InProcessRow | ScaleRow | ReleaseRow


class Rows(NamedTuple):
    """The rows by kind, each in the order given."""

    load: tuple[LoadRow, ...]
    in_process: tuple[InProcessRow, ...]
    scale: tuple[ScaleRow, ...]
    releases: tuple[ReleaseRow, ...]


def read_rows(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """`rows` by kind. Raises BenchInputError naming the first bad row, its keys, and the fix."""
    read = [_read(row, f"row {number}") for number, row in enumerate(rows)]
    return Rows(
        tuple(row for row in read if isinstance(row, LoadRow)),
        tuple(row for row in read if isinstance(row, InProcessRow)),
        tuple(row for row in read if isinstance(row, ScaleRow)),
        tuple(row for row in read if isinstance(row, ReleaseRow)),
    )


def _kind(row: Mapping[str, Any]) -> type[Row]:
    if row.get("generator") == "in-process":
        return InProcessRow
    scenario = str(row.get("scenario", ""))
    return ScaleRow if scenario.startswith("bank") else ReleaseRow if scenario.startswith("release") else LoadRow


def _read(row: Mapping[str, Any], name: str) -> Row:
    try:
        return _kind(row).model_validate(row)
    except ValidationError as error:
        place = ", ".join(str(row[key]) for key in ("scenario", "variant") if key in row)
        problems = "; ".join(_problem(one["loc"], one["type"], one["msg"]) for one in error.errors(include_url=False))
        raise BenchInputError(f"{name} ({place}): {problems}; measure it again, or leave it out") from None


def _problem(where: tuple[int | str, ...], kind: str, message: str) -> str:
    key = ".".join(map(str, where))
    return f"{key} is missing" if kind == "missing" else f"{key}: {message[0].lower()}{message[1:]}"
