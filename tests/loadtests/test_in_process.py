"""The in-process benchmark: what is measured, in which order, and what is told of it."""

import contextlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from userip.bank.opening import open_bank
from userip.bank.release_records import ReleaseRecords
from userip.loadtests.errors import LoadTestError
from userip.loadtests.gates import judge
from userip.loadtests.in_process import Effort, Row, measure
from userip.loadtests.report.rows import read_rows
from userip.loadtests.servers.redis_server import RedisServer
from userip.loadtests.variants import build_variants
from userip.release.manifest import read_manifest

TINY = Effort(repeats=2, instances=50, least=2, most=3)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("variants")
    built = build_variants(None, out, ("dcn", "userip", "kar-online"), seed=1, users=60, items=40)
    return {name: variant.release for name, variant in built.items()}


def test_variants_take_turns_over_a_real_bank(releases: dict[str, Path]) -> None:
    """A row per scenario, size, repeat and variant, the bare graph among them, in the order A B C A B C."""
    with RedisServer() as server:
        rows = measure(releases, server.url, TINY, sizes=(1, 90))
    names = [*releases, "bare-onnx"]
    wanted = [
        (scenario, size, repeat, name)
        for scenario in ("in-process", "in-process-warm")
        for size in (1, 90)
        for repeat in (0, 1)
        for name in names
    ]
    assert [(row["scenario"], row["candidates"], row["repeat"], row["variant"]) for row in rows] == wanted
    assert Counter((row["candidates"], row["requests"]) for row in rows) == {(1, 3): 16, (90, 2): 16}
    for row in rows:
        # The mean of a few calls lies between the quickest and the slowest, in whatever unit it is told.
        per_call = row["seconds_per_10k"] * row["candidates"] / 10_000 * 1000
        assert 0 < per_call <= row["p99_ms"] * 1.0001
        assert per_call >= row["p99_ms"] / row["requests"] * 0.9999
    assert len(read_rows(rows).in_process) == len(rows)


def test_an_lmdb_bank_is_a_scenario_of_its_own(releases: dict[str, Path], tmp_path: Path) -> None:
    """Rows of two banks are never mixed; the releases are published, none is made active."""
    url = f"lmdb://{tmp_path / 'bank'}"
    rows = measure(releases, url, TINY, sizes=(3,), caches=("off",))
    assert {(row["scenario"], row["bank"], row["cache"]) for row in rows} == {("in-process-lmdb", "lmdb", "off")}
    with contextlib.closing(open_bank(url)) as bank:
        assert {info.name for info in bank.releases()} == {read_manifest(path).release for path in releases.values()}
        assert bank.active() is None


def test_a_bank_without_the_users_is_refused(releases: dict[str, Path], tmp_path: Path) -> None:
    """The time of a default profile would be of something else."""
    url = f"lmdb://{tmp_path / 'bank'}"
    with contextlib.closing(open_bank(url)) as bank:
        name = read_manifest(releases["dcn"]).release
        bank.publish(name, ReleaseRecords(["someone"], np.zeros(1, np.uint32), np.zeros((1, 0), np.uint16)))
    with pytest.raises(LoadTestError, match=f"{name}: the bank does not give"):
        measure({"dcn": releases["dcn"]}, url, TINY, sizes=(3,), caches=("off",))


@pytest.mark.parametrize(("candidates", "calls"), [(1, 300), (100, 200), (10_000, 4)])
def test_a_turn_is_long_enough_but_not_endless(candidates: int, calls: int) -> None:
    """20,000 pairs, at least 4 and at most 300 requests."""
    assert Effort(repeats=1, instances=20_000, least=4, most=300).calls(candidates) == calls


def _rows(scenario: str, candidates: int, seconds: dict[str, list[float]]) -> list[Row]:
    return [
        {"scenario": scenario, "variant": name, "candidates": candidates, "repeat": repeat, "seconds_per_10k": value}
        for name, values in seconds.items()
        for repeat, value in enumerate(values)
    ]


def test_gates_are_judged_for_every_way_of_looking_up() -> None:
    """1.0, 1.1 and 1.02 times dcn in Redis, 1.06 in the cache: the bound of 1.05 is met by the median of the first."""
    rows = _rows("in-process", 100, {"dcn": [1.0, 10.0, 1.0], "userip": [1.0, 11.0, 1.02], "kar-online": [4.0, 44, 4]})
    rows += _rows("in-process-warm", 100, {"dcn": [1.0], "userip": [1.06], "kar-online": [6.0]})
    found = [(gate.value, gate.ok) for gate in judge(rows) if "10,000 instances" in gate.gate]
    assert found == [
        (pytest.approx(1.06), False),
        (pytest.approx(1.02), True),
        (pytest.approx(6 / 1.06), True),
        (pytest.approx(4.0), False),
        (None, None),
        (None, None),
    ]
