"""The bench: turns, resuming, verdicts; and once with real parts, from releases to the report."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from userip.loadtests.bench import BenchConfig, run_bench
from userip.loadtests.bench_run import BenchRun, Subject
from userip.loadtests.errors import BenchInputError, WrongAnswerError
from userip.loadtests.scenarios import PRESETS, Scenario
from userip.loadtests.servers.cores import family
from userip.loadtests.servers.processes import run_to_end, start
from userip.loadtests.variants import build_variants
from userip.processes import Server, ServerError

FIRST = Scenario("first", variants=("dcn", "userip"), repeats=2)
SECOND = Scenario("second", share=0.5, of="userip", base="first", variants=("userip",), repeats=1)


@dataclass
class _FakeBenchRun:
    """Notes the windows that it is asked for; the figures are made up."""

    windows: list[tuple[str, str, int, float | None]]
    fail_at: int = 10**9
    wrong: int = 0

    def __call__(self, *_: object) -> "_FakeBenchRun":
        self.servers = SimpleNamespace(redis=SimpleNamespace(url="redis://nowhere"))
        return self

    def publish(self) -> None:
        """Nothing to publish."""

    def measure(self, scenario: Scenario, variant: str, repeat: int, rate: float | None) -> dict[str, Any]:
        if len(self.windows) == self.fail_at:
            raise KeyboardInterrupt
        self.windows.append((scenario.name, variant, repeat, rate))
        latency = {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "late_ms": None, "generator_cpu": 0.5}
        counts = {"requests": 10, "failed": 0, "verified": 10, "wrong": self.wrong, "throughput": 100.0}
        kind = {"route": "/score", "candidates": 100, "connections": 1, "workers": 1, "cache": "warm", "apart": True}
        place = {"scenario": scenario.name, "variant": variant, "repeat": repeat, "rate": rate, "generator": "own"}
        return latency | counts | kind | place

    def __enter__(self) -> "_FakeBenchRun":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class _Zeros:
    """Knows no right score."""

    def scores(self, user_id: str, item_ids: Sequence[str]) -> NDArray[np.float32]:
        return np.zeros(len(item_ids), np.float32)


def _in_process(releases: Mapping[str, Path], url: str, preset: str) -> list[dict[str, Any]]:
    row = {"scenario": "in-process", "generator": "in-process", "repeat": 0, "candidates": 100}
    return [row | {"variant": name, "seconds_per_10k": 1.0} for name in releases]


def _build(
    dataset: Path | None, out: Path, names: Sequence[str], seed: int, chosen: Sequence[str] = ("userip",)
) -> Mapping[str, Subject]:
    return build_variants(dataset, out, chosen, seed, users=150, items=220)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[_FakeBenchRun, BenchConfig]:
    """A bench of two scenarios whose windows take no time."""
    run = _FakeBenchRun([])
    monkeypatch.setitem(PRESETS, "quick", (FIRST, SECOND))
    monkeypatch.setattr("userip.loadtests.bench.BenchRun", run)
    monkeypatch.setattr("userip.loadtests.bench._population", lambda *_: None)
    return run, BenchConfig(tmp_path / "out")


def _run(config: BenchConfig, said: list[str] | None = None) -> None:
    run_bench(config, lambda *_: {}, {"in-process": _in_process}, say=(said if said is not None else []).append)


def test_variants_take_turns(bench: tuple[_FakeBenchRun, BenchConfig]) -> None:
    """A B A B, then the next scenario at its share of what the first has shown."""
    run, config = bench
    _run(config)
    assert run.windows == [
        ("first", "dcn", 0, None),
        ("first", "userip", 0, None),
        ("first", "dcn", 1, None),
        ("first", "userip", 1, None),
        ("second", "userip", 0, 50.0),
    ]
    rows = json.loads((config.out / "latency.json").read_text())
    assert [row["scenario"] for row in rows if row["generator"] == "own"] == ["first"] * 4 + ["second"]
    gates = {gate["gate"]: gate for gate in json.loads((config.out / "gates.json").read_text())}
    assert gates["wrong answers under load"] | {"how": ""} == {
        "gate": "wrong answers under load",
        "value": 0,
        "limit": "0",
        "ok": True,
        "how": "",
    }


def test_an_interrupted_bench_goes_on_where_it_stopped(bench: tuple[_FakeBenchRun, BenchConfig]) -> None:
    """Finished scenarios are in the report at once and are not measured again; half a scenario is."""
    run, config = bench
    run.fail_at = 4
    with pytest.raises(KeyboardInterrupt):
        _run(config)
    assert len(json.loads((config.out / "latency.json").read_text())) == 4
    run.fail_at = 10**9
    _run(config)
    assert run.windows[4:] == [("second", "userip", 0, 50.0)]
    _run(config)
    assert len(run.windows) == 5


def test_only_what_was_asked_for_and_the_rest_stays(bench: tuple[_FakeBenchRun, BenchConfig]) -> None:
    """With --only, scenarios that were finished before stay in the report."""
    run, config = bench
    _run(BenchConfig(config.out, only=("first",)))
    assert {name for name, *_ in run.windows} == {"first"}
    _run(BenchConfig(config.out, only=("second",)))
    assert {row["scenario"] for row in json.loads((config.out / "latency.json").read_text())} == {"first", "second"}
    assert len(run.windows) == 5


def test_wrong_answers_fail_the_bench_after_its_report(bench: tuple[_FakeBenchRun, BenchConfig]) -> None:
    """The error names scenario and variant; the report is there to be read."""
    run, config = bench
    run.wrong = 1
    with pytest.raises(WrongAnswerError, match="first dcn, first userip, second userip"):
        _run(config)
    assert (config.out / "report.html").exists()


def test_a_generator_that_is_missing_is_said(
    bench: tuple[_FakeBenchRun, BenchConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are left out, in one line that says how to install it, also in the report."""
    run, config = bench
    monkeypatch.setitem(PRESETS, "quick", (FIRST, Scenario("by-locust", generator="locust")))
    monkeypatch.setitem(sys.modules, "locust", None)
    said: list[str] = []
    _run(config, said)
    assert said[0] == "by-locust: left out: Locust is not installed: pip install 'userip[load]'"
    assert {name for name, *_ in run.windows} == {"first"}
    assert "by-locust is left out: Locust is not installed" in (config.out / "report.md").read_text()


def test_places_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """A data set directory without dataset.json, a file where the report should go."""
    with pytest.raises(BenchInputError, match=r"--dataset .*: no dataset\.json"):
        _run(BenchConfig(tmp_path / "out", dataset=tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchInputError, match=r"--out .*file: not a directory"):
        _run(BenchConfig(tmp_path / "file"))


@pytest.mark.slow
@pytest.mark.usefixtures("redis_server")  # says how to install redis-server where it is missing
def test_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Release, bank, service, echo, load, verification, report; every process has ended afterwards."""
    scenarios = (
        Scenario("first", candidates=10, connections=2, variants=("userip", "echo"), seconds=0.4, repeats=1),
        Scenario("profile", route="/profile", connections=2, rate=50.0, seconds=0.4, repeats=1),
    )
    monkeypatch.setitem(PRESETS, "quick", scenarios)
    pids: list[int] = []
    init = Server.__init__

    def noted(self: Server, *arguments: Any) -> None:  # noqa: ANN401
        init(self, *arguments)
        pids.append(self.pid)

    monkeypatch.setattr(Server, "__init__", noted)
    out = tmp_path / "out"
    run_bench(BenchConfig(out), _build, {"in-process": _in_process}, say=lambda _: None)
    rows = {(row["scenario"], row["variant"]): row for row in json.loads((out / "latency.json").read_text())}
    for key in (("first", "userip"), ("profile", "userip")):
        row = rows[key]
        assert row["requests"] > 0
        assert row["verified"] > 0
        assert (row["wrong"], row["failed"]) == (0, 0)
        assert row["rss_mb"] > 10
    assert rows["first", "echo"]["requests"] > 0
    assert rows["first", "userip"]["seconds_per_10k"] == pytest.approx(
        1000 / rows["first", "userip"]["throughput"], rel=1e-9
    )
    assert len(pids) == 2
    assert [list(family(pid)) for pid in pids] == [[pid] for pid in pids]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
@pytest.mark.usefixtures("redis_server")
def test_an_oracle_that_disagrees_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the service wrong, or the oracle: every verified answer counts as wrong."""
    scenario = Scenario("first", candidates=5, connections=1, seconds=0.3, repeats=1)
    subject = SimpleNamespace(release=_build(None, tmp_path / "v", (), 0)["userip"].release, oracle=_Zeros())
    from userip.loadtests.traffic.workload import population_of_release

    with BenchRun(tmp_path / "work", {"userip": subject}, population_of_release(subject.release), 0) as run:
        run.publish()
        row = run.measure(scenario, "userip", 0, None)
    assert row["wrong"] == row["verified"] > 0


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    """The error holds the end of the log and where it lies."""
    command = ["sh", "-c", "echo no such thing; exit 3"]
    with pytest.raises(ServerError, match=rf"broken ended with exit code 3: no such thing \({tmp_path}/log\)"):
        start("broken", command, 1, tmp_path / "log", (0,))


def test_a_program_that_fails_says_its_last_line() -> None:
    """With the exit code."""
    with pytest.raises(Exception, match="exit code 4: the end"):
        run_to_end(["sh", "-c", "echo start >&2; echo the end >&2; exit 4"])
