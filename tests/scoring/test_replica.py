"""The replica of the served records: kept up to date beside the current, read when the bank has nothing to say."""

import datetime
import io
import json
import re
import time
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.fixtures.process import until
from tests.fixtures.serving import RECORDS, Serve, publish
from tests.fixtures.tiny_release import TinyRelease
from userip.bank import Record, open_bank
from userip.loadtests.servers.redis_server import RedisServer, free_port
from userip.scoring.errors import ReplicaError


def await_copies(log: io.BytesIO, number: int) -> dict[str, int]:
    """Wait until so many copies were made; the log's line of the last one."""
    begun = time.monotonic()
    while len(lines := [line for line in log.getvalue().splitlines() if b"replica is up to date" in line]) < number:
        assert time.monotonic() - begun < 20
        time.sleep(0.02)
    line: dict[str, int] = json.loads(lines[-1])
    return line


def outcome(client: TestClient, user_id: str) -> str:
    """What `/score` says of a user's profile."""
    answer = client.post("/score", json={"user_id": user_id, "item_ids": ["plain"]})
    assert answer.status_code == 200
    return str(answer.json()["profile"])


def test_a_lost_bank_is_replaced_by_the_replica(
    serve: Serve, tiny: TinyRelease, tmp_path: Path, redis_url: str, redis_server: RedisServer, log: io.BytesIO
) -> None:
    """Bank emptied, no cache: known users keep their scores, folded-in ones too; others get the default."""
    publish(redis_url, tiny.name)
    client = serve(redis_url, replica_dir=tmp_path / "replica", replica_seconds=0.05, cache_records=0)
    assert await_copies(log, 1)["users"] == len(RECORDS)
    bank = open_bank(redis_url)
    bank.upsert(tiny.name, {"folded in": Record(4, (1, 1, 0)), "u1": RECORDS["u1"]})
    bank.close()
    assert await_copies(log, 2)["changed"] == 1
    with redis_server.client() as redis:
        redis.flushall()
    # For a second the emptied bank says that it knows nobody; then, that it has no release.
    until(lambda: outcome(client, "u1") == "known" and b"no_release" in log.getvalue())
    for user_id, record in (("u1", RECORDS["u1"]), ("folded in", Record(4, (1, 1, 0)))):
        answer = client.post("/score", json={"user_id": user_id, "item_ids": ["plain", "i5"]}).json()
        assert answer["profile"] == "known"
        assert answer["scores"] == pytest.approx(
            list(tiny.expected(["plain", "i5"], record.row, record.codes)), abs=1e-6
        )
    assert outcome(client, "nobody") == "default"
    assert outcome(client, "impossible row") == "default"
    assert client.get("/profile/u1").status_code == 200
    assert client.get("/readyz").status_code == 503
    counted = client.get("/metrics").text
    assert "userip_corrupt_records_total 1.0" in counted
    assert 'userip_profile_lookups_total{outcome="unavailable"}' not in counted


def test_a_forgotten_user_is_deleted_from_the_replica(
    serve: Serve, tiny: TinyRelease, tmp_path: Path, redis_url: str, redis_server: RedisServer, log: io.BytesIO
) -> None:
    """At once, not when the replica is next due; the others stay, and the replica agrees with the bank."""
    publish(redis_url, tiny.name)
    client = serve(redis_url, replica_dir=tmp_path / "replica", replica_seconds=3600, cache_records=0)
    await_copies(log, 1)
    with closing(open_bank(redis_url)) as bank, closing(open_bank(f"lmdb://{tmp_path / 'replica'}")) as replica:
        for number, user in enumerate(("u1", max(RECORDS), min(RECORDS)), start=2):
            assert bank.forget(user) == [tiny.name]
            assert await_copies(log, number)["changed"] == 1
            assert replica.get_many(tiny.name, [user]) == [None]
        assert replica.get_many(tiny.name, list(RECORDS)) == bank.get_many(tiny.name, list(RECORDS))
        (info,) = replica.releases()
        assert info.users == len(RECORDS) - 3
    with redis_server.client() as redis:
        redis.flushall()
    until(lambda: outcome(client, "u2") == "known")
    assert outcome(client, "u1") == "default"


def test_one_of_several_copies_and_all_read(
    serve: Serve, tiny: TinyRelease, tmp_path: Path, redis_url: str, log: io.BytesIO
) -> None:
    """A second service over the same directory leaves the copying to the first, and reads what that one copied."""
    publish(redis_url, tiny.name)
    settings = {"replica_dir": tmp_path / "replica", "replica_seconds": 0.05, "cache_records": 0}
    serve(redis_url, **settings)
    await_copies(log, 1)
    second = serve(f"redis://127.0.0.1:{free_port()}", **settings, bank_deadline_ms=20)
    assert outcome(second, "u1") == "known"
    assert log.getvalue().count(b"replica is up to date") == 1


def test_freshness_is_the_bank_s_own_time(
    serve: Serve, tiny: TinyRelease, tmp_path: Path, redis_url: str, log: io.BytesIO
) -> None:
    """Both gauges hold when the bank's records last changed, and follow a fold-in within seconds."""
    publish(redis_url, tiny.name)
    client = serve(redis_url, replica_dir=tmp_path / "replica", replica_seconds=0.05, cache_records=0)
    bank = open_bank(redis_url)

    def gauge(name: str) -> float:
        outcome(client, "u1")  # freshness is learnt on the way of a lookup
        found = re.search(rf'^userip_{name}{{release="{tiny.name}"}} (.+)$', client.get("/metrics").text, re.M)
        return float(found[1]) if found else 0.0

    for _ in range(2):
        (info,) = bank.releases()
        changed = datetime.datetime.fromisoformat(info.updated).timestamp()
        until(lambda changed=changed: gauge("records_updated_timestamp_seconds") == changed)  # type: ignore[misc]
        until(lambda changed=changed: gauge("replica_updated_timestamp_seconds") == changed)  # type: ignore[misc]
        bank.upsert(tiny.name, {"u1": RECORDS["u1"]})
    bank.close()


def test_a_keeper_begins_once_it_can(
    serve: Serve, tiny: TinyRelease, tmp_path: Path, redis_url: str, log: io.BytesIO
) -> None:
    """A lock file that cannot be opened is told once; when it can be, the records are copied."""
    publish(redis_url, tiny.name)
    (tmp_path / "replica" / "keeper.lock").mkdir(parents=True)
    serve(redis_url, replica_dir=tmp_path / "replica", replica_seconds=0.05)
    until(lambda: b"replica cannot be updated" in log.getvalue())
    (tmp_path / "replica" / "keeper.lock").rmdir()
    assert await_copies(log, 1)["users"] == len(RECORDS)
    assert log.getvalue().count(b"replica cannot be updated") == 1


def test_a_replica_of_a_directory_is_refused(serve: Serve, tmp_path: Path, lmdb_url: str) -> None:
    """An LMDB bank is on this machine already."""
    with pytest.raises(ReplicaError, match="remove replica_dir"):
        serve(lmdb_url, replica_dir=tmp_path / "replica")


def test_a_directory_that_cannot_be_made_stops_the_start(serve: Serve, tmp_path: Path, redis_url: str) -> None:
    """The message names the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ReplicaError, match=r"replica_dir .*: Not a directory"):
        serve(redis_url, replica_dir=tmp_path / "file" / "replica")
