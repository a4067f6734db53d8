"""Profiles, probes and what is served."""

import io
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import lmdb
import pytest
from starlette.testclient import TestClient

from tests.fixtures.serving import RECORDS, Serve, publish
from tests.fixtures.tiny_release import TinyRelease
from userip.bank.opening import open_bank


def test_profile_explains_every_code(serve: Serve, tiny_bank_url: str, tiny: TinyRelease) -> None:
    """A profile names each facet's code, the size of its codebook and the words for the code."""
    answer = serve(tiny_bank_url).get("/profile/u1").json()
    assert answer == {
        "user_id": "u1",
        "release": tiny.name,
        "codes": [
            {"facet": "hobby", "code": 0, "codebook_size": 4, "description": ["hobby 0", "wörd"]},
            {"facet": "background", "code": 1, "codebook_size": 3, "description": ["background 1", "wörd"]},
        ],
    }


def test_code_that_inference_did_not_give_is_null(client: TestClient) -> None:
    """An unknown code has no description; the other facet's code is shown."""
    codes = client.get("/profile/u2").json()["codes"]
    assert codes[0]["code"] == 3
    assert codes[1] == {"facet": "background", "code": None, "codebook_size": 3, "description": []}


@pytest.mark.parametrize("user_id", [name for name in RECORDS if "impossible" not in name])
def test_any_user_id_can_be_asked_for_percent_encoded(client: TestClient, user_id: str) -> None:
    """Slashes, spaces, question marks and letters of any script reach the bank as they are."""
    response = client.get(f"/profile/{quote(user_id, safe='')}")
    assert response.status_code == 200, response.text
    assert response.json()["user_id"] == user_id


def test_unknown_user_has_no_profile(serve: Serve, tiny_bank_url: str) -> None:
    """404 with a problem document; a damaged record is treated as none at all."""
    client = serve(tiny_bank_url)
    for user_id in ("nobody", "a", "a/b", "u1/", "impossible row"):
        response = client.get(f"/profile/{quote(user_id, safe='')}")
        assert response.status_code == 404, response.text
        assert response.json()["type"] == "urn:userip:problem:unknown-user"


@pytest.mark.parametrize("path", ["/profile/", "/profile/%00", "/profile/%ff", "/profile/" + "x" * 257])
def test_impossible_user_id_is_refused(client: TestClient, path: str) -> None:
    """Empty, NUL, not UTF-8, too long: 422 that names user_id."""
    response = client.get(path)
    assert response.status_code == 422, response.text
    assert [error["field"] for error in response.json()["errors"]] == ["user_id"]


def test_release_tells_what_is_served_and_no_paths(client: TestClient, tiny: TinyRelease) -> None:
    """Name, fields, facets, context values and metrics; nothing of the machine's files."""
    response = client.get("/release")
    answer = response.json()
    assert (answer["release"], answer["users"], answer["items"]) == (tiny.name, 5, 7)
    assert [field["values"] for field in answer["fields"] if field["source"] == "context"] == [["mobile", "tv"]]
    assert answer["facets"] == [
        {"name": "hobby", "codebook_size": 4},
        {"name": "background", "codebook_size": 3},
    ]
    assert answer["metrics"] == {"test": {"auc": 0.5}}
    assert str(tiny.path) not in response.text
    assert "/secret" not in response.text


def test_alive_and_ready_when_all_is_well(serve: Serve, tiny_bank_url: str, tiny: TinyRelease) -> None:
    """The two probes agree while nothing is missing."""
    client = serve(tiny_bank_url)
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "release": tiny.name, "release_outdated": False}


def test_a_forgotten_user_is_unknown_within_seconds(serve: Serve, tiny_bank_url: str, tiny: TinyRelease) -> None:
    """However long the cache believes a profile: it is dropped, and nobody else is lost."""
    client = serve(tiny_bank_url, cache_ttl_seconds=3600)

    def outcome(user: str) -> str:
        return str(client.post("/score", json={"user_id": user, "item_ids": []}).json()["profile"])

    assert [outcome(user) for user in ("u1", "u1", "u2")] == ["known"] * 3
    with closing(open_bank(tiny_bank_url)) as bank:
        assert bank.forget("u1") == [tiny.name]
    begun = time.monotonic()
    while outcome("u1") == "known":
        assert time.monotonic() - begun < 20
        time.sleep(0.02)
    assert client.get("/profile/u1").status_code == 404
    assert outcome("u2") == "known"


def test_not_ready_without_the_release_in_the_bank(serve: Serve, tiny: TinyRelease, tmp_path: Path) -> None:
    """A bank that lacks the release: not ready, and profiles are unavailable, not unknown."""
    url = f"lmdb://{tmp_path}/other"
    publish(url, "another-release")
    client = serve(url)
    assert f"holds no records of release {tiny.name}" in client.get("/readyz").json()["errors"][0]["problem"]
    answer = client.post("/score", json={"user_id": "u1", "item_ids": ["plain"]}).json()
    assert answer["profile"] == "unavailable"
    assert client.get("/profile/u1").status_code == 503
    bank = open_bank(url)
    bank.close()


def test_bank_that_is_not_there_makes_profiles_unavailable(serve: Serve, tiny: TinyRelease) -> None:
    """Nothing listens on the port: default scores, marked unavailable; probes tell the two apart."""
    client = serve("redis://127.0.0.1:1")
    response = client.post("/score", json={"user_id": "u1", "item_ids": ["plain"]})
    assert response.status_code == 200
    assert response.json()["profile"] == "unavailable"
    assert response.json()["scores"] == pytest.approx(list(tiny.expected(["plain"])), abs=1e-6)
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").headers["content-type"] == "application/problem+json"
    assert client.get("/healthz").status_code == 200
    away = client.get("/profile/u1")
    assert (away.status_code, away.headers["retry-after"] in "123") == (503, True)


def test_damaged_value_is_counted_and_served_as_default(
    serve: Serve, lmdb_url: str, tiny: TinyRelease, tmp_path: Path, log: io.BytesIO
) -> None:
    """Bytes that are no record do not fail a request: the default profile is served and counted, and told once."""
    env = lmdb.open(str(tmp_path / "bank"), map_size=64 << 20)
    with env.begin(write=True) as txn:
        records = [key for key, _ in txn.cursor() if not bytes(key).startswith(b"m:")]
        assert len(records) == len(RECORDS)
        for key in records:
            txn.put(key, b"\x07damaged")
    env.close()
    client = serve(lmdb_url)
    response = client.post("/score", json={"user_id": "u1", "item_ids": ["plain"]})
    assert response.json()["profile"] == "default"
    batch = {"requests": [{"user_id": user, "item_ids": ["plain"]} for user in ("u1", "u2", "nobody")]}
    answers = client.post("/score/batch", json=batch).json()["responses"]
    assert [answer["profile"] for answer in answers] == ["default"] * 3
    assert "userip_corrupt_records_total 3.0" in client.get("/metrics").text
    assert log.getvalue().count(b"records in the bank are damaged") == 1
