"""What is told of a release's memory and load time, on a release that is small."""

import subprocess
import sys
from pathlib import Path

import pytest

from userip.loadtests.errors import LoadTestError
from userip.loadtests.scale.release import _workers, measure, memory_mb

ALLOCATES = "print(flush=True); input(); block = b'1' * (16 << 20); print(flush=True); input()"


def test_memory_is_that_of_the_process() -> None:
    """16 MiB that are written to are resident and private; a part of them in PSS would be a wrong key."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", ALLOCATES], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        before = memory_mb(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        after = memory_mb(process.pid)
        process.stdin.write("\n")
    for name in ("Rss", "Pss", "Private_Dirty"):
        assert 15 < after[name] - before[name] < 24, name


def test_a_release_is_loaded_by_workers_and_scored(tmp_path: Path) -> None:
    """One row per size: two workers take twice the RSS of one, but share libraries and tables, so less PSS."""
    (row,) = measure(((300, 200),), tmp_path, repeats=1, requests=20)
    assert (row["users"], row["items"]) == (300, 200)
    files = sum(file.stat().st_size for file in (tmp_path / "300-200" / "userip").iterdir())
    assert row["files_mb"] == pytest.approx(files / 2**20)
    assert row["rss_mb_2"] == pytest.approx(2 * row["rss_mb_1"], rel=0.1)
    assert row["pss_mb_1"] < row["rss_mb_1"]
    assert row["pss_mb_2"] < 0.95 * row["rss_mb_2"]
    assert row["imports_mb"] < row["loaded_mb"] <= row["rss_mb_1"] * 1.01
    assert 0 < row["load_s_spread"][0] <= row["load_s"] <= row["load_s_spread"][1]
    for drawn in ("uniform", "zipf"):
        assert 0 < row[f"p50_us_{drawn}"] <= row[f"p99_us_{drawn}"]


def test_a_worker_that_ends_early_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The error names the release; what the worker said stands on stderr."""
    with pytest.raises(LoadTestError, match=rf"{tmp_path}: a worker did not load it; exit code 1"):
        _workers(tmp_path, 1)
    assert "manifest.json: not found" in capfd.readouterr().err
