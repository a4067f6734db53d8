"""The scale of a bank is measured. What the figures are on this machine, is for people to read."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from userip.bank import Record, open_bank
from userip.bank.errors import BankError, BankUrlError
from userip.loadtests.scale.bank import measure
from userip.loadtests.scale.bank_publisher import codes_of
from userip.loadtests.servers.redis_server import RedisServer

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("redis_server")  # says how to install redis-server where it is missing


def test_codes_follow_from_the_users_number() -> None:
    """Slot k of user n is n (k + 1) mod 251, so that a reader knows what to expect without a table."""
    numbers = np.array([0, 1, 250, 251, 9_999_999])
    expected = [[int(n) * (slot + 1) % 251 for slot in range(3)] for n in numbers]
    assert codes_of(numbers, 3).tolist() == expected


def test_a_row_per_kind_and_size() -> None:
    """Fresh banks of both kinds and all sizes give the figures that the report shows, and a line for each half."""
    lines: list[str] = []
    rows = measure([3000, 1000], reads=50, say=lines.append)
    assert [(row["bank"], row["users"]) for row in rows] == [
        ("lmdb", 1000),
        ("lmdb", 3000),
        ("redis", 1000),
        ("redis", 3000),
    ]
    for row in rows:
        assert row["scenario"] == "bank-scale"
        assert 15 < row["bytes_per_user"] < 500  # a record of 13 bytes with its place; of few users, mostly overhead
        assert row["publish_per_s"] == pytest.approx(row["users"] / row["publish_s"])
        assert row["publisher_cpu_s"] > 0
        assert row["publisher_mb"] >= 0
        assert 0 < row["p50_us"] <= row["p99_us"]
        assert 0 < row["batch_p50_us"] <= row["batch_p99_us"]
    assert [row["p50_to_smallest"] for row in rows[::2]] == [1, 1]
    assert rows[3]["p50_to_smallest"] == pytest.approx(rows[3]["p50_us"] / rows[2]["p50_us"])
    assert [line.split()[0] for line in lines] == ["lmdb"] * 4 + ["redis"] * 4


def test_a_named_bank_holds_every_size(tmp_path: Path) -> None:
    """A bank that is named gets one release per size, whole and not active, and is refused a second time."""
    url = f"lmdb://{tmp_path / 'bank'}"
    measure([10, 20], [url], slots=1, reads=5, say=lambda line: None)
    bank = open_bank(url)
    assert [(info.name, info.users, info.active) for info in bank.releases()] == [
        ("scale-10", 10, False),
        ("scale-20", 20, False),
    ]
    assert bank.get_many("scale-20", ["user-000000019", "user-000000020"]) == [Record(19, (19,)), None]
    bank.close()
    with pytest.raises(BankUrlError, match="holds releases; name an empty bank"):
        measure([10], [url])


def test_wrong_records_are_no_figures(redis_url: str, redis_server: RedisServer) -> None:
    """A lookup that answers something else than was published ends the measurement."""

    def lose(line: str) -> None:
        with redis_server.client() as client:
            client.delete(*[key for key in client.scan_iter(count=1000) if b":scale-" in key and b"{bank}" not in key])

    with pytest.raises(BankError, match="expected"):
        measure([100], [redis_url], reads=5, say=lose)


def test_a_bank_that_is_away_is_one_line() -> None:
    """The command names the server that does not answer and shows no password."""
    command = [
        sys.executable,
        "-m",
        "userip.loadtests.scale.bank",
        "--users",
        "10",
        "--bank",
        "redis://:secret@127.0.0.1:1",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == ""
    assert re.fullmatch(r"bank_scale: redis at 127\.0\.0\.1:1: .*\n", done.stdout)
