"""What has to be reached, from rows that a test made up; ratios by hand."""

from typing import Any

import pytest

from userip.loadtests.gates import Gate, judge
from userip.loadtests.scenarios import GATE_RATE, SATURATION


def _row(scenario: str, variant: str, repeat: int, **figures: Any) -> dict[str, Any]:  # noqa: ANN401  # any figure
    plain = {"rate": None, "candidates": 100, "requests": 100, "failed": 0, "verified": 10, "wrong": 0}
    return plain | {"scenario": scenario, "variant": variant, "repeat": repeat} | figures


def _gate(rows: list[dict[str, Any]], name: str) -> Gate:
    (found,) = [gate for gate in judge(rows) if gate.gate == name]
    return found


@pytest.mark.parametrize(("dcn", "ok"), [(10.0, True), (9.0, False)])
def test_ratios_are_taken_within_a_repeat(dcn: float, ok: bool) -> None:
    """The median of three ratios counts: 1.05, 1.1 and 2.0, of which the third repeat was disturbed."""
    rows = [_row(GATE_RATE, "userip", i, p99_ms=ms, p50_ms=5.0, rate=9.0) for i, ms in enumerate((10.5, 11.0, 40.0))]
    rows += [_row(GATE_RATE, "dcn", i, p99_ms=ms, rate=9.0) for i, ms in enumerate((10.0, dcn, 20.0))]
    gate = _gate(rows, "p99, userip / dcn")
    assert gate.value == pytest.approx(sorted([1.05, 11 / dcn, 2.0])[1])
    assert (gate.ok, gate.limit) == (ok, "<= 1.10")
    assert "3 interleaved repeats, 1.05 to 2.00" in gate.how


def test_a_repeat_that_one_variant_lacks_is_left_out() -> None:
    """No ratio is taken across repeats."""
    rows = [_row(SATURATION, "userip", i, throughput=value) for i, value in ((0, 700.0), (1, 100.0))]
    rows += [_row(SATURATION, "echo", i, throughput=1000.0) for i in (0, 2)]
    gate = _gate(rows, "requests per second, userip / echo, warm cache")
    assert (gate.value, gate.ok) == (0.7, True)


def test_a_server_that_answered_nothing_misses_its_gate() -> None:
    """No request per second is measured, and far below the limit; nothing can be held against an echo of none."""
    name = "requests per second, userip / echo, warm cache"
    dead = [_row(SATURATION, "userip", i, throughput=0.0, server_us=None) for i in range(3)]
    echo = [_row(SATURATION, "echo", i, throughput=1000.0, server_us=9.0) for i in range(3)]
    assert _gate(dead + echo, name)[1:4] == (0.0, ">= 0.60", False)
    no_echo = [_row(SATURATION, "userip", 0, throughput=700.0), _row(SATURATION, "echo", 0, throughput=0.0)]
    assert _gate(no_echo, name).ok is None


def test_throughput_is_also_compared_by_processor_time() -> None:
    """A server that needs 250 us for what takes echo 100 us bears 0.4 of its requests."""
    rows = [_row(SATURATION, "userip", i, throughput=9.0, server_us=250.0) for i in range(3)]
    rows += [_row(SATURATION, "echo", i, throughput=9.0, server_us=us) for i, us in enumerate((90.0, 100.0, 170.0))]
    gate = _gate(rows, "requests per second, userip / echo, warm cache")
    assert gate.value == 1.0
    assert gate.how.endswith("; by the processor time of a request 0.40")


def test_at_least_is_not_at_most() -> None:
    """Five times slower passes the KAR gate, four times misses it."""
    for seconds, ok in ((5.0, True), (4.0, False)):
        rows = [_row("in-process", "userip", 0, seconds_per_10k=1.0)]
        rows += [_row("in-process", "kar-online", 0, seconds_per_10k=seconds)]
        rows += [_row("in-process", "kar-online", 0, seconds_per_10k=99.0, candidates=10)]
        assert (
            _gate(rows, "seconds per 10,000 instances, kar-online / userip, 100 candidates, Redis, cache off").ok is ok
        )


def test_failures_count_below_saturation_only() -> None:
    """A closed loop is at saturation; in an open one nothing may fail, and the place is named."""
    closed = _row(SATURATION, "userip", 0, failed=5)
    name = "failed requests below saturation"
    assert _gate([closed], name).ok is None
    fine = _row(GATE_RATE, "userip", 0, rate=9.0)
    assert _gate([closed, fine], name)[1:] == (0, "0", True, "of 100 requests")
    bad = _row(GATE_RATE, "dcn", 0, rate=9.0, failed=2)
    gate = _gate([closed, fine, bad], name)
    assert (gate.value, gate.ok) == (2, False)
    assert gate.how == f"of 202 requests; in {GATE_RATE} dcn"


def test_a_wrong_answer_anywhere_is_a_miss() -> None:
    """Also in a closed loop; echo, of which nothing is verified, does not count."""
    rows = [_row(SATURATION, "userip", 0), _row(SATURATION, "echo", 0, verified=0)]
    assert _gate(rows, "wrong answers under load").how == "of 10 verified answers"
    rows.append(_row(SATURATION, "dcn", 0, wrong=1))
    assert _gate(rows, "wrong answers under load").ok is False


def test_nothing_measured_is_neither_met_nor_missed() -> None:
    """Without rows every gate is open."""
    assert {(gate.value, gate.ok) for gate in judge([])} == {(None, None)}


def test_the_largest_bank_and_release_are_judged() -> None:
    """Ten million users count, not ten thousand; LMDB is shown and not judged."""
    rows: list[dict[str, Any]] = [
        {"scenario": "bank-scale", "bank": bank, "users": users, "bytes_per_user": size, "publish_per_s": 3e5}
        | {"p50_to_smallest": 1.3 if bank == "lmdb" else 1.1}
        for bank, users, size in (("redis", 10_000, 65.0), ("redis", 10_000_000, 25.0), ("lmdb", 10_000_000, 36.0))
    ]
    rows += [{"scenario": "release-scale", "users": users, "load_s": users / 1e5} for users in (10_000, 1_000_000)]
    assert _gate(rows, "bytes a user in Redis")[1:4] == (25.0, "<= 32", True)
    assert _gate(rows, "users published a second into Redis").ok
    assert _gate(rows, "lookup p50 to that of the smallest bank, Redis").value == 1.1
    assert _gate(rows, "seconds to load the largest release")[1:4] == (10.0, "<= 5", False)
    assert _gate([], "bytes a user in Redis").ok is None
