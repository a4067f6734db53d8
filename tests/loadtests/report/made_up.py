"""Rows as the bench hands them over, with figures that are easy to reckon with."""

from typing import Any

from userip.loadtests.gates import Gate

Row = dict[str, Any]
EVIL = "<script>alert('1')</script> & \"quotes\" | *stars*"


def load_row(variant: str = "userip", **given: Any) -> Row:  # noqa: ANN401  (any key of a row)
    """One window: 100 candidates, closed loop, warm cache; whatever is given stands instead."""
    row: Row = {
        "variant": variant, "scenario": "score-100", "route": "/score", "candidates": 100, "rate": None,
        "p50_ms": 2.0, "p95_ms": 4.0, "p99_ms": 8.0, "throughput": 1000.0, "failed": 0, "seconds_per_10k": 0.1,
        "generator": "own", "repeat": 0, "connections": 32, "workers": 1, "cache": "warm", "requests": 2000,
        "wrong": 0, "verified": 100, "late_ms": None, "generator_cpu": 0.5, "server_cpu": 0.75, "rss_mb": 128.0,
        "quantiles": [[0.5, 2.0], [0.95, 4.0], [0.99, 8.0], [1.0, 16.0]],
    }  # fmt: skip
    return row | given


def process_row(variant: str, seconds: float, repeat: int = 0, **given: Any) -> Row:  # noqa: ANN401
    """Seconds per 10,000 instances in requests of 100 candidates."""
    row = {"scenario": "in-process", "generator": "in-process", "candidates": 100}
    return row | {"variant": variant, "seconds_per_10k": seconds, "repeat": repeat} | given


def scale_row(bank: str, users: int, p50_us: float, **given: Any) -> Row:  # noqa: ANN401
    """A bank of so many users."""
    return {"scenario": "bank-scale", "bank": bank, "users": users, "p50_us": p50_us, "bytes_per_user": 24.0} | given


def gate(name: str = "a gate", ok: bool | None = True, **given: Any) -> Gate:  # noqa: ANN401
    """A gate of 1.04 where at most 1.10 is allowed."""
    return Gate(name, 1.04, "<= 1.10", ok, "median of 3 repeats")._replace(**given)


def whole(text: str = "") -> list[Row]:
    """Rows for every section, over three repeats; `text` stands behind each name that a row brings along."""
    throughput = {"userip": 600.0, "dcn": 640.0, "kar-online": 100.0, "echo": 1000.0, f"another{text}": 50.0}
    rows: list[Row] = []
    for repeat in range(3):
        names: Row = {"repeat": repeat, "scenario": f"score-100{text}", "route": f"/score{text}"}
        for variant, most in throughput.items():
            rows.append(load_row(variant, throughput=most + repeat, **names))
            for rate in (50.0, 100.0):
                slow = {f"p{p}_ms": p / most * rate for p in (50, 95, 99)}
                open_loop = names | {"scenario": f"at-{rate:.0f}{text}", "rate": rate, "late_ms": 0.01 * rate}
                rows.append(load_row(variant, **open_loop, **slow))
                rows.append(load_row(variant, **open_loop, **slow, generator=f"locust{text}"))
            rows.append(load_row(variant, **names, candidates=500, throughput=most / 4))
            rows.append(process_row(variant, 100 / most, repeat))
            rows.append(process_row(variant, 80 / most, repeat, scenario=f"in-process-warm{text}"))
        rows.append(load_row(**names, cache="off", throughput=400.0))
        rows.append(load_row(**names, workers=2, throughput=1100.0))
        rows += [scale_row(f"redis{text}", users, 60.0 + repeat, repeat=repeat) for users in (10_000, 10_000_000)]
    return rows


MACHINE = {"CPU": "a fast one", "Python": "3.11"}
