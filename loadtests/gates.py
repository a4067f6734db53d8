"""What has to be reached, held against the rows. Ratios are taken within a repeat, then their median counts."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

from userip.loadtests.scenarios import GATE_RATE, SATURATION

Row = Mapping[str, Any]
Rows = Sequence[Row]


class Gate(NamedTuple):
    """One bound: `value` is what was measured, None where nothing was; `ok` is then None, too."""

    gate: str
    value: float | None
    limit: str
    ok: bool | None
    how: str

    def summary(self) -> str:
        """One line for people."""
        verdict = {True: "ok", False: "MISSED", None: "-"}[self.ok]
        value = "-" if self.value is None else f"{self.value:.4g}"
        return f"{verdict:<7}{self.gate}: {value} (limit {self.limit}; {self.how})"


class Side(NamedTuple):
    """One figure of one variant's rows: `figure` of those in `scenario`, or with the other `keys`."""

    variant: str
    figure: str
    scenario: str
    candidates: int | None = None

    def by_repeat(self, rows: Rows) -> dict[int, float]:
        """The figure in each repeat that has it."""
        return {
            row["repeat"]: row[self.figure]
            for row in rows
            if row["scenario"] == self.scenario
            and row["variant"] == self.variant
            and self.candidates in (None, row["candidates"])
            and row.get(self.figure) is not None
        }


class Ratio(NamedTuple):
    """`upper` / `lower` is to be at most, or at least, `limit`."""

    gate: str
    upper: Side
    lower: Side
    at_most: bool
    limit: float

    def ways(self, rows: Rows) -> list["Ratio"]:
        """The same bound for every way of looking up that the rows of the in-process benchmark have."""
        if self.upper.scenario != IN_PROCESS:
            return [self]
        found = [scenario for scenario in WAYS if any(row["scenario"] == scenario for row in rows)]
        return [
            self._replace(
                gate=f"{self.gate}, {WAYS[scenario]}",
                upper=self.upper._replace(scenario=scenario),
                lower=self.lower._replace(scenario=scenario),
            )
            for scenario in found
        ] or [self]

    def judge(self, rows: Rows) -> Gate:
        """Hold the rows against it."""
        over, under = self.upper.by_repeat(rows), self.lower.by_repeat(rows)
        ratios = _ratios(over, under)
        limit = f"{'<=' if self.at_most else '>='} {self.limit:.2f}"
        if not ratios:
            return Gate(self.gate, None, limit, None, "not measured")
        value = median(ratios)
        ok = value <= self.limit if self.at_most else value >= self.limit
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        how = f"{self.upper.scenario}: median of {len(ratios)} interleaved repeats, {spread}"
        return Gate(self.gate, value, limit, ok, how + self._by_processor(rows))

    def _by_processor(self, rows: Rows) -> str:
        """The same ratio by the servers' processor time, where requests per second are compared."""
        if self.upper.figure != "throughput":
            return ""
        # More time for a request means fewer requests: the sides change places.
        over, under = (side._replace(figure="server_us").by_repeat(rows) for side in (self.lower, self.upper))
        ratios = _ratios(over, under)
        return f"; by the processor time of a request {median(ratios):.2f}" if ratios else ""


class Largest(NamedTuple):
    """`figure` of the largest bank or release of a scale, which is to be at most, or at least, `limit`."""

    gate: str
    scenario: str
    figure: str
    at_most: bool
    limit: float
    bank: str | None = None

    def judge(self, rows: Rows) -> Gate:
        """Hold the rows against it."""
        mine = [row for row in rows if row["scenario"] == self.scenario and row.get("bank") == self.bank]
        limit = f"{'<=' if self.at_most else '>='} {self.limit:,g}"
        if not mine:
            return Gate(self.gate, None, limit, None, "not measured")
        largest = max(mine, key=lambda row: row["users"])
        value = largest[self.figure]
        ok = value <= self.limit if self.at_most else value >= self.limit
        return Gate(self.gate, value, limit, ok, f"{self.scenario}: {largest['users']:,} users")


LARGEST: Final = (
    Largest("bytes a user in Redis", "bank-scale", "bytes_per_user", True, 32, "redis"),
    Largest("users published a second into Redis", "bank-scale", "publish_per_s", False, 200_000, "redis"),
    Largest("lookup p50 to that of the smallest bank, Redis", "bank-scale", "p50_to_smallest", True, 1.2, "redis"),
    Largest("seconds to load the largest release", "release-scale", "load_s", True, 5.0),
)
IN_PROCESS: Final = "in-process"
WAYS: Final = {"in-process-warm": "warm cache", IN_PROCESS: "Redis, cache off", "in-process-lmdb": "LMDB, cache off"}

RATIOS: Final = (
    *(
        Ratio(
            f"goodput of {connections} connections / 32",
            Side("userip", "throughput", f"score-100-by-{connections}"),
            Side("userip", "throughput", SATURATION),
            False,
            0.95,
        )
        for connections in (8, 64, 256)
    ),
    Ratio(
        "seconds per 10,000 instances, userip / dcn",
        Side("userip", "seconds_per_10k", IN_PROCESS, 100),
        Side("dcn", "seconds_per_10k", IN_PROCESS, 100),
        True,
        1.05,
    ),
    Ratio("p99, userip / dcn", Side("userip", "p99_ms", GATE_RATE), Side("dcn", "p99_ms", GATE_RATE), True, 1.10),
    Ratio(
        "seconds per 10,000 instances, kar-online / userip, 100 candidates",
        Side("kar-online", "seconds_per_10k", IN_PROCESS, 100),
        Side("userip", "seconds_per_10k", IN_PROCESS, 100),
        False,
        5.0,
    ),
    Ratio(
        "requests per second, userip / echo, warm cache",
        Side("userip", "throughput", SATURATION),
        Side("echo", "throughput", SATURATION),
        False,
        0.60,
    ),
    Ratio(
        "requests per second, userip / echo, cache off",
        Side("userip", "throughput", "score-100-uncached"),
        Side("echo", "throughput", "score-100-uncached"),
        False,
        0.40,
    ),
    Ratio(
        "p99 / p50 of userip at 40 % of saturation",
        Side("userip", "p99_ms", GATE_RATE),
        Side("userip", "p50_ms", GATE_RATE),
        True,
        4.0,
    ),
    Ratio(
        "10,000 instances in process, userip / bare ONNX Runtime",
        Side("userip", "seconds_per_10k", IN_PROCESS, 10_000),
        Side("bare-onnx", "seconds_per_10k", IN_PROCESS, 10_000),
        True,
        2.0,
    ),
)


def _ratios(over: Mapping[int, float], under: Mapping[int, float]) -> list[float]:
    """Of the repeats that both have; over 0 there is none, of 0 it is 0."""
    return [over[repeat] / under[repeat] for repeat in over.keys() & under.keys() if under[repeat]]


def judge(rows: Rows) -> list[Gate]:
    """All gates, in the order of the table above; then failures and wrong answers, of which none is allowed."""
    return [
        *(way.judge(rows) for ratio in RATIOS for way in ratio.ways(rows)),
        *(bound.judge(rows) for bound in LARGEST),
        _none("failed requests below saturation", rows, "failed", lambda row: row.get("rate") is not None),
        _none("wrong answers under load", rows, "wrong", lambda row: bool(row.get("verified"))),
    ]


def _none(gate: str, rows: Rows, figure: str, counts: Callable[[Row], bool]) -> Gate:
    counted = [row for row in rows if counts(row)]
    if not counted:
        return Gate(gate, None, "0", None, "not measured")
    found = sum(row[figure] for row in counted)
    of = sum(row["verified"] if figure == "wrong" else row["requests"] + row["failed"] for row in counted)
    where = sorted({f"{row['scenario']} {row['variant']}" for row in counted if row[figure]})
    how = f"of {of:,} {'verified answers' if figure == 'wrong' else 'requests'}"
    return Gate(gate, found, "0", found == 0, f"{how}; in {', '.join(where)}" if where else how)
