"""The bank benchmark runs. How fast a bank is on this machine, is for people to read; tests/bank bounds its size."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("redis_server")  # says how to install redis-server where it is missing


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as a person would."""
    command = [sys.executable, "-m", "loadtests.bank_benchmark", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_both_banks_are_measured() -> None:
    """Rate of publishing, bytes a user and latencies of reads, for LMDB and for Redis."""
    done = benchmark("--users", "20000", "--reads", "100")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^bank (lmdb|redis)://", done.stdout, re.MULTILINE) == ["lmdb", "redis"]
    assert len(re.findall(r"publish +[\d.]+ s +[\d,]+ users/s", done.stdout)) == 2
    assert len(re.findall(r"stored +[\d.]+ bytes a user", done.stdout)) == 2
    assert len(re.findall(r"get +(?:1|50) users? +\d+ us p50", done.stdout)) == 4


def test_a_bank_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    """The benchmark refuses a bank that holds releases, with one line."""
    url = f"lmdb://{tmp_path / 'bank'}"
    assert benchmark("--users", "1000", "--reads", "100", "--bank", url).returncode == 0
    again = benchmark("--users", "1000", "--reads", "100", "--bank", url)
    assert again.returncode == 2
    assert "wants an empty bank" in again.stdout
