"""Following the bank: whatever is active there is served here, if it can be; else the release before is."""

import json
import shutil
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import redis
from starlette.testclient import TestClient

from tests.fixtures.process import until
from tests.fixtures.serving import RECORDS, Serve, publish
from tests.fixtures.tiny_release import TinyRelease, change_manifest, write_release
from userip.bank.opening import open_bank
from userip.bank.record import Record

KEY = {"X-API-Key": "key"}
QUICK = {"follow_seconds": 0.02, "admin_key": "key"}


def activate(url: str, release: str) -> None:
    bank = open_bank(url)
    bank.activate(release)
    bank.close()


def served(client: TestClient) -> str:
    return str(client.get("/release").json()["release"])


def problem(client: TestClient) -> str:
    last = client.get("/release").json()["last_reload"]
    return "" if last is None or last["ok"] else str(last["problem"])


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    (tmp_path / "releases").mkdir()
    return tmp_path / "releases"


def test_what_becomes_active_is_served(serve: Serve, tiny_bank_url: str, tiny: TinyRelease, releases: Path) -> None:
    """Activation and rollback reach the service by themselves; scores are those of the release that is named."""
    shutil.copytree(tiny.path, releases / "any name")
    other = write_release(releases / "another", seed=1)
    client = serve(tiny_bank_url, releases_dir=releases, **QUICK)
    assert served(client) == tiny.name
    publish(tiny_bank_url, other.name)
    until(lambda: served(client) == other.name)
    answer = client.post("/score", json={"user_id": "u1", "item_ids": ["i5"]}).json()
    record = RECORDS["u1"]
    assert answer["release"] == other.name
    assert answer["scores"] == pytest.approx(list(other.expected(["i5"], record.row, record.codes)), abs=1e-6)
    assert client.get("/readyz").json()["release"] == other.name

    assert client.post("/admin/rollback", headers=KEY).json()["active"] == tiny.name
    until(lambda: served(client) == tiny.name)
    about = client.get("/release").json()
    assert (about["wanted"], about["last_reload"]["ok"]) == (tiny.name, True)
    text = client.get("/metrics").text
    assert 'userip_reloads_total{outcome="done"} 2.0' in text
    assert "userip_release_outdated 0.0" in text


def test_the_release_directory_itself_may_be_replaced(serve: Serve, lmdb_url: str, tiny: TinyRelease) -> None:
    """By default, without releases_dir, a service follows the bank as far as release_dir goes."""
    client = serve(lmdb_url, **QUICK)
    other = write_release(tiny.path, seed=1)
    publish(lmdb_url, other.name)
    until(lambda: served(client) == other.name)


def test_a_service_without_the_directory_of_the_active_release_stays_ready(
    serve: Serve, tiny_bank_url: str, tiny: TinyRelease, tmp_path: Path
) -> None:
    """`serve`, then a second `publish`: ready, the same answers to the same users, and outdated by its own word."""
    client = serve(tiny_bank_url, cache_records=0, **QUICK)
    right = client.post("/score", json={"user_id": "u1", "item_ids": ["i5"]}).json()
    assert client.get("/readyz").json() == {"status": "ready", "release": tiny.name, "release_outdated": False}
    other = write_release(tmp_path / "elsewhere", seed=1)
    publish(tiny_bank_url, other.name)
    until(lambda: client.get("/readyz").json()["release_outdated"])
    assert client.get("/readyz").json() == {"status": "ready", "release": tiny.name, "release_outdated": True}
    assert "userip_release_outdated 1.0" in client.get("/metrics").text
    assert client.post("/score", json={"user_id": "u1", "item_ids": ["i5"]}).json() == right
    assert right["profile"] == "known"
    assert "set releases_dir" in problem(client)


def test_without_following_the_pointer_moves_nothing(serve: Serve, lmdb_url: str, releases: Path, log: BytesIO) -> None:
    """follow_bank=off: the operator says when, even where the directory is at hand; ready, outdated, said once."""
    client = serve(lmdb_url, releases_dir=releases, follow_bank="off", **QUICK)
    before = served(client)
    other = write_release(releases / "other", seed=1)
    publish(lmdb_url, other.name)
    until(lambda: client.get("/readyz").json()["release_outdated"])
    assert served(client) == before
    assert "userip_release_outdated 1.0" in client.get("/metrics").text
    assert log.getvalue().count(b"another release is active; reload to serve it") == 1
    assert client.post("/admin/reload", json={"release": other.name}, headers=KEY).json()["before"] == before
    assert served(client) == other.name
    assert client.get("/readyz").json()["release_outdated"] is False


def altered(release: TinyRelease) -> None:
    (release.path / "items.npz").write_bytes(b"altered")


def truncated(release: TinyRelease) -> None:
    path = release.path / "scorer.onnx"
    path.write_bytes(path.read_bytes()[:100])
    change_manifest(release)


def misshapen(release: TinyRelease) -> None:
    change_manifest(release, items=6)


def misanswering(release: TinyRelease) -> None:
    request: dict[str, object] = {"row": 0, "codes": None, "items": ["i5"], "context": {}, "probabilities": [0.0]}
    (release.path / "golden.json").write_text(json.dumps({"requests": [request]}))
    change_manifest(release)


def absent(release: TinyRelease) -> None:
    shutil.rmtree(release.path)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (altered, "items.npz: sha256 differs"),
        (truncated, "scorer.onnx"),
        (misshapen, "manifest.json"),
        (misanswering, "golden.json: request 0: item 'i5' scores"),
        (absent, "no directory of release"),
    ],
)
def test_a_release_that_cannot_be_served_changes_nothing_until_it_is_fixed(
    serve: Serve, lmdb_url: str, tiny: TinyRelease, releases: Path, log: BytesIO, harm: Callable[..., None], says: str
) -> None:
    """The old one is served on and stays ready; metrics, /release and one line of the log say why."""
    client = serve(lmdb_url, releases_dir=releases, **QUICK)
    right = client.post("/score", json={"user_id": "u1", "item_ids": ["i5"]}).json()
    other = write_release(releases / "other", seed=1)
    harm(other)
    publish(lmdb_url, other.name)
    until(lambda: says in problem(client))
    time.sleep(0.2)  # several further attempts
    assert str(releases) not in problem(client)
    assert client.post("/score", json={"user_id": "u1", "item_ids": ["i5"]}).json() == right
    assert client.get("/readyz").json()["release"] == tiny.name
    assert client.get("/release").json()["wanted"] == other.name
    text = client.get("/metrics").text
    assert "userip_release_outdated 1.0" in text
    assert 'userip_reloads_total{outcome="failed"}' in text
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["release"] for line in lines if line["event"] == "reload failed"] == [other.name]

    write_release(releases / "other", seed=1)
    until(lambda: served(client) == other.name)
    assert "userip_release_outdated 0.0" in client.get("/metrics").text


def test_a_bank_with_records_of_another_shape_is_refused(
    serve: Serve, tiny_bank_url: str, tiny: TinyRelease, releases: Path
) -> None:
    """Two codes a record where the graph takes three: every record would be corrupt."""
    client = serve(tiny_bank_url, releases_dir=releases, **QUICK)
    other = write_release(releases / "other", seed=1)
    publish(tiny_bank_url, other.name, {"u1": Record(0, (1, 1))})
    until(lambda: "have 2 codes and 0 floats, its graph takes 3 and 0" in problem(client))
    assert served(client) == tiny.name


def test_a_bug_in_loading_is_survived(
    serve: Serve, lmdb_url: str, tiny: TinyRelease, releases: Path, log: BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw is logged with its traceback, told without it, and tried again."""
    client = serve(lmdb_url, releases_dir=releases, **QUICK)
    other = write_release(releases / "other", seed=1)

    def unforeseen(*_: object) -> None:
        raise IndexError("some bug")

    with monkeypatch.context() as patch:
        patch.setattr("userip.scoring.releases.current_release.load_and_warm_up", unforeseen)
        publish(lmdb_url, other.name)
        until(lambda: "IndexError" in problem(client))
        assert served(client) == tiny.name
        assert client.post("/admin/reload", headers=KEY).status_code == 409
    until(lambda: served(client) == other.name)
    assert "Traceback" in log.getvalue().decode()


def test_an_order_holds_until_the_pointer_moves(serve: Serve, lmdb_url: str, tiny: TinyRelease, releases: Path) -> None:
    """An operator may serve another release than the active one; the next activation takes over."""
    second, third = (write_release(releases / f"{seed}", seed=seed) for seed in (1, 2))
    publish(lmdb_url, second.name, activate=False)
    publish(lmdb_url, third.name, activate=False)
    client = serve(lmdb_url, releases_dir=releases, **QUICK)
    assert client.post("/admin/reload", json={"release": second.name}, headers=KEY).status_code == 200
    time.sleep(0.2)
    about = client.get("/release").json()
    assert (about["release"], about["wanted"]) == (second.name, second.name)
    activate(lmdb_url, third.name)
    until(lambda: served(client) == third.name)
    activate(lmdb_url, tiny.name)  # where the pointer was when the order was given: the order is past
    until(lambda: served(client) == tiny.name)
    time.sleep(0.2)
    assert served(client) == tiny.name


@pytest.mark.parametrize(
    "name", ["../releases/other", "/etc", "http://127.0.0.1/release", "lmdb:///x", "", "a b", "nul\x00"]
)
def test_a_path_or_url_is_no_release(serve: Serve, lmdb_url: str, releases: Path, name: str) -> None:
    """Only names are taken: anything else is 422 before anything is looked at."""
    write_release(releases / "other", seed=1)
    client = serve(lmdb_url, releases_dir=releases, **QUICK)
    response = client.post("/admin/reload", json={"release": name}, headers=KEY)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].endswith("release")


def test_a_name_that_nothing_has_is_a_conflict(serve: Serve, lmdb_url: str, releases: Path) -> None:
    """Neither an unknown name nor the directory's own name loads anything."""
    write_release(releases / "other", seed=1)
    client = serve(lmdb_url, releases_dir=releases, **QUICK)
    for name in ("unknown", "other"):
        response = client.post("/admin/reload", json={"release": name}, headers=KEY)
        assert response.status_code == 409
        assert "no directory of release" in response.json()["detail"]


def test_a_service_begins_with_what_is_active(
    serve: Serve, lmdb_url: str, tiny: TinyRelease, releases: Path, log: BytesIO
) -> None:
    """From its first request on; where that cannot be loaded, with release_dir."""
    other = write_release(releases / "other", seed=1)
    publish(lmdb_url, other.name)
    assert served(serve(lmdb_url, releases_dir=releases)) == other.name
    altered(other)
    assert served(serve(lmdb_url, releases_dir=releases)) == tiny.name
    assert "active release cannot be loaded" in log.getvalue().decode()
    shutil.rmtree(other.path)
    assert served(serve(lmdb_url, releases_dir=releases)) == tiny.name
    assert "active release is not here" in log.getvalue().decode()
    assert served(serve("redis://127.0.0.1:1", releases_dir=releases)) == tiny.name  # nobody to ask


def test_a_bank_that_loses_everything_moves_nothing(
    serve: Serve, redis_url: str, tiny: TinyRelease, releases: Path
) -> None:
    """No pointer is no order: the release is served with what is left."""
    publish(redis_url, tiny.name)
    client = serve(redis_url, releases_dir=releases, **QUICK)
    until(lambda: client.get("/release").json()["wanted"] == tiny.name)
    redis.Redis.from_url(redis_url).flushall()
    time.sleep(0.1)
    assert client.get("/release").json()["wanted"] == tiny.name
    assert client.get("/readyz").status_code == 503
    np.testing.assert_allclose(
        client.post("/score", json={"user_id": "stranger", "item_ids": ["i5"]}).json()["scores"],
        tiny.expected(["i5"]),
        atol=1e-6,
    )
