"""The shadow release: it scores a share of the requests too, and nobody notices but the metrics."""

import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.fixtures.serving import RECORDS, Serve, publish
from tests.fixtures.tiny_release import FIELDS, ITEMS, TinyRelease, write_release
from userip.bank.record import Record

OTHERS = {"u1": Record(4, (2, 0, 0)), "only there": Record(1, (0, 0, 0))}


@pytest.fixture
def other(tmp_path: Path) -> TinyRelease:
    return write_release(tmp_path / "other", seed=1)


def shadow_of(client: TestClient, done: int) -> dict[str, Any]:
    """What /release says of the shadow once it has been through `done` requests."""
    begun = time.monotonic()
    while (shadow := client.get("/release").json()["shadow"])["compared"] + shadow["failed"] < done:
        assert time.monotonic() - begun < 60
        time.sleep(0.01)
    return dict(shadow)


def test_differences_are_those_between_the_releases(
    serve: Serve, tiny_bank_url: str, tiny: TinyRelease, other: TinyRelease
) -> None:
    """Each release scores with its own graph and its own record of the user; the answer is the served one's."""
    publish(tiny_bank_url, other.name, OTHERS, activate=False)
    client = serve(tiny_bank_url, shadow_release_dir=other.path, shadow_sample_rate=1.0)
    differences = []
    for user, device in (("u1", "tv"), ("u2", None), ("stranger", "mobile"), ("only there", None)):
        body = {"user_id": user, "item_ids": list(ITEMS), "context": {"device": device} if device else {}}
        answer = client.post("/score", json=body).json()
        records = (RECORDS.get(user, Record(0, (0xFFFF,) * 3)), OTHERS.get(user, Record(0, (0xFFFF,) * 3)))
        ours, theirs = (
            release.expected(ITEMS, record.row, record.codes, device)
            for release, record in zip((tiny, other), records, strict=True)
        )
        assert (answer["release"], answer["scores"]) == (tiny.name, pytest.approx(list(ours), abs=1e-6))
        differences.append(theirs - ours)
    shadow = shadow_of(client, 4)
    every = np.concatenate(differences)
    assert (shadow["release"], shadow["compared"], shadow["candidates"]) == (other.name, 4, 28)
    assert (shadow["dropped"], shadow["failed"]) == (0, 0)
    assert shadow["mean_difference"] == pytest.approx(every.mean(), abs=1e-6)
    assert shadow["mean_absolute_difference"] == pytest.approx(np.abs(every).mean(), abs=1e-6)
    assert shadow["largest_difference"] == pytest.approx(np.abs(every).max(), abs=1e-6)
    text = client.get("/metrics").text
    assert 'userip_shadow_requests_total{outcome="compared"} 4.0' in text
    for bound in (0.01, 0.1, 0.5):
        below = (np.abs(every) <= bound).sum()
        assert f'userip_shadow_difference_bucket{{le="{bound}"}} {below}.0' in text
    assert 'userip_profile_lookups_total{outcome="known"} 2.0' in text  # what the shadow reads is not counted as served


def test_a_share_is_taken(serve: Serve, lmdb_url: str, other: TinyRelease) -> None:
    """Half of 200 requests, give or take five standard deviations."""
    publish(lmdb_url, other.name, OTHERS, activate=False)
    client = serve(lmdb_url, shadow_release_dir=other.path, shadow_sample_rate=0.5)
    for _ in range(200):
        client.post("/score", json={"user_id": "u1", "item_ids": ["i5"]})
    time.sleep(0.3)
    shadow = shadow_of(client, 1)
    assert 64 < shadow["compared"] + shadow["dropped"] < 136


def test_a_batch_is_compared_whole(serve: Serve, lmdb_url: str, other: TinyRelease) -> None:
    """One batch, one comparison, all candidates."""
    publish(lmdb_url, other.name, OTHERS, activate=False)
    client = serve(lmdb_url, shadow_release_dir=other.path, shadow_sample_rate=1.0)
    one = {"user_id": "u1", "item_ids": ["i5", "i6"]}
    assert client.post("/score/batch", json={"requests": [one, one | {"item_ids": []}, one]}).status_code == 200
    assert shadow_of(client, 1)["candidates"] == 4


def test_context_fields_that_the_shadow_lacks_are_left_out(
    serve: Serve, lmdb_url: str, tmp_path: Path, tiny: TinyRelease
) -> None:
    """A shadow whose context field has another name is scored without any context."""
    fields = (*FIELDS[:-1], FIELDS[-1].model_copy(update={"name": "screen"}))
    other = write_release(tmp_path / "other", seed=1, fields=fields)
    publish(lmdb_url, other.name, OTHERS, activate=False)
    client = serve(lmdb_url, shadow_release_dir=other.path, shadow_sample_rate=1.0)
    client.post("/score", json={"user_id": "stranger", "item_ids": ["i5"], "context": {"device": "tv"}})
    expected = other.expected(["i5"]) - tiny.expected(["i5"], device="tv")
    assert shadow_of(client, 1)["mean_difference"] == pytest.approx(expected[0], abs=1e-6)


def test_a_shadow_that_the_bank_does_not_hold_fails_apart(serve: Serve, lmdb_url: str, other: TinyRelease) -> None:
    """Its failures are counted; answers, readiness and the bank's own counters know nothing of it."""
    client = serve(lmdb_url, shadow_release_dir=other.path, shadow_sample_rate=1.0)
    for _ in range(3):
        assert client.post("/score", json={"user_id": "u1", "item_ids": ["i5"]}).json()["profile"] == "known"
    shadow = shadow_of(client, 3)
    assert (shadow["failed"], shadow["compared"], shadow["mean_difference"]) == (3, 0, None)
    assert client.get("/readyz").status_code == 200
    assert "userip_bank_failures_total{" not in client.get("/metrics").text


def test_what_would_pile_up_is_dropped(
    serve: Serve, lmdb_url: str, other: TinyRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no room at all nothing waits, nothing is compared, and every drop is counted."""
    monkeypatch.setattr("userip.scoring.shadow._MOST_CANDIDATES", -1)
    publish(lmdb_url, other.name, OTHERS, activate=False)
    client = serve(lmdb_url, shadow_release_dir=other.path, shadow_sample_rate=1.0)
    for _ in range(5):
        assert client.post("/score", json={"user_id": "u1", "item_ids": ["i5"]}).status_code == 200
    shadow = client.get("/release").json()["shadow"]
    assert (shadow["dropped"], shadow["compared"]) == (5, 0)


def test_a_bug_in_comparing_is_survived(
    serve: Serve, lmdb_url: str, other: TinyRelease, log: BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody foresaw is logged with its traceback; the requests after it are compared."""
    publish(lmdb_url, other.name, OTHERS, activate=False)
    client = serve(lmdb_url, shadow_release_dir=other.path, shadow_sample_rate=1.0)
    request = {"user_id": "u1", "item_ids": ["i5"]}

    def unforeseen(*_: object) -> None:
        raise IndexError("some bug")

    with monkeypatch.context() as patch:
        patch.setattr("userip.scoring.shadow._with_fields", unforeseen)
        client.post("/score", json=request)
        begun = time.monotonic()
        while b"IndexError" not in log.getvalue():
            assert time.monotonic() - begun < 60
            time.sleep(0.01)
    client.post("/score", json=request)
    assert shadow_of(client, 1)["compared"] == 1
    assert b"Traceback" in log.getvalue()


def test_a_shadow_that_cannot_be_loaded_stops_nothing(
    serve: Serve, lmdb_url: str, other: TinyRelease, log: BytesIO, tiny: TinyRelease
) -> None:
    """The service starts without it and says why."""
    (other.path / "scorer.onnx").write_bytes(b"altered")
    client = serve(lmdb_url, shadow_release_dir=other.path, shadow_sample_rate=1.0)
    assert client.post("/score", json={"user_id": "u1", "item_ids": ["i5"]}).json()["release"] == tiny.name
    assert client.get("/release").json()["shadow"] is None
    assert "shadow release cannot be loaded" in log.getvalue().decode()
