"""Reload and rollback, and who may ask for them."""

import json
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.fixtures.process import until
from tests.fixtures.serving import RECORDS, Serve, publish
from tests.fixtures.tiny_release import TinyRelease, change_manifest, write_release
from userip.bank.opening import open_bank
from userip.loadtests.servers.redis_server import RedisServer

KEY = {"X-API-Key": "s3cret-kéy"}
ADMIN = ("/admin/reload", "/admin/rollback")


@pytest.fixture
def admin(serve: Serve, lmdb_url: str) -> TestClient:
    """The application with the admin routes on."""
    return serve(lmdb_url, admin_key="s3cret-kéy")


def test_admin_routes_are_off_without_a_key(client: TestClient) -> None:
    """403, and the variable that turns them on."""
    for path in ADMIN:
        response = client.post(path, headers={"X-API-Key": "x"})
        assert response.status_code == 403
        assert "set USERIP_ADMIN_KEY" in response.json()["detail"]


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"X-API-Key": "s3cret"}, {"X-API-Key": "s3cret-ke"}])
def test_admin_routes_refuse_other_keys(admin: TestClient, headers: dict[str, str]) -> None:
    """No key, an empty one, a part of it: 401, and the answer holds no hint of the right one."""
    for path in ADMIN:
        response = admin.post(path, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "ApiKey"
        assert "s3cret-k" not in response.text


def utf8(headers: dict[str, str]) -> dict[bytes, bytes]:
    """Headers as most clients send letters outside ASCII."""
    return {name.encode(): value.encode() for name, value in headers.items()}


def test_reload_serves_what_the_directory_holds_now(admin: TestClient, lmdb_url: str, tiny: TinyRelease) -> None:
    """After a reload the new release's scores are served under its name, and the metrics say so."""
    second = write_release(tiny.path, seed=1)
    publish(lmdb_url, second.name)
    response = admin.post("/admin/reload", headers=utf8(KEY))
    assert response.json() == {"release": second.name, "before": tiny.name}
    answer = admin.post("/score", json={"user_id": "u1", "item_ids": ["i5"]}).json()
    record = RECORDS["u1"]
    assert answer["release"] == second.name
    assert answer["scores"] == pytest.approx(list(second.expected(["i5"], record.row, record.codes)), abs=1e-6)
    assert admin.get("/readyz").status_code == 200
    text = admin.get("/metrics").text
    assert 'userip_reloads_total{outcome="done"} 1.0' in text
    assert f'userip_release_loaded_timestamp_seconds{{release="{tiny.name}"}}' not in text


def break_hash(release: TinyRelease) -> None:
    (release.path / "scorer.onnx").write_bytes(b"altered")


def break_shape(release: TinyRelease) -> None:
    change_manifest(release, release="wrong-shape", items=6)


def break_graph(release: TinyRelease) -> None:
    (release.path / "scorer.onnx").write_bytes(b"\x08\x08")
    change_manifest(release, release="no-graph")


def remove(release: TinyRelease) -> None:
    (release.path / "manifest.json").unlink()


def unpublished(release: TinyRelease) -> None:
    change_manifest(release, release="not-in-the-bank")


@pytest.mark.parametrize("harm", [break_hash, break_shape, break_graph, remove, unpublished])
def test_failed_reload_keeps_the_served_release(admin: TestClient, tiny: TinyRelease, harm: object) -> None:
    """Altered, ill-shaped, unloadable, missing, unpublished: 409 without a path; the old serves on."""
    before = admin.post("/score", json={"user_id": "u1", "item_ids": ["i5"]}).json()
    assert callable(harm)
    harm(tiny)
    response = admin.post("/admin/reload", headers=utf8(KEY))
    assert response.status_code == 409, response.text
    assert str(tiny.path) not in response.text
    assert f"{tiny.name} is still served" in response.json()["detail"]
    assert admin.post("/score", json={"user_id": "u1", "item_ids": ["i5"]}).json() == before
    assert 'userip_reloads_total{outcome="failed"} 1.0' in admin.get("/metrics").text
    last = admin.get("/release").json()["last_reload"]
    assert last["ok"] is False
    assert str(tiny.path) not in last["problem"]


def test_requests_during_reloads_are_all_answered_by_one_release_or_the_other(
    admin: TestClient, lmdb_url: str, tiny: TinyRelease, tmp_path: Path
) -> None:
    """Under reloads every answer is right for the release that it names."""
    other = write_release(tmp_path / "other", seed=1)
    publish(lmdb_url, other.name)
    record = RECORDS["u1"]
    right = {release.name: list(release.expected(["i5", "i6"], record.row, record.codes)) for release in (tiny, other)}
    seen: set[str] = set()
    wrong: list[object] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            response = admin.post("/score", json={"user_id": "u1", "item_ids": ["i5", "i6"]})
            answer = response.json()
            seen.add(answer.get("release"))
            if response.status_code != 200 or answer["scores"] != pytest.approx(right[answer["release"]], abs=1e-6):
                wrong.append(answer)

    asking = threading.Thread(target=ask)
    asking.start()
    for seed, release in ((1, other), (0, tiny)) * 5:
        write_release(tiny.path, seed=seed)
        assert admin.post("/admin/reload", headers=utf8(KEY)).status_code == 200
        seen.clear()
        until(lambda name=release.name: name in seen)  # type: ignore[misc]
    done.set()
    asking.join()
    assert wrong == []


def test_rollback_moves_the_banks_pointer_back(serve: Serve, tiny_bank_url: str, tiny: TinyRelease) -> None:
    """The release before becomes active in the bank; with none before it, 409 and nothing moves."""
    admin = serve(tiny_bank_url, admin_key="key")
    assert admin.post("/admin/rollback", headers={"X-API-Key": "key"}).status_code == 409
    publish(tiny_bank_url, "newer")
    response = admin.post("/admin/rollback", headers={"X-API-Key": "key"})
    assert response.json() == {"active": tiny.name, "served": tiny.name}
    assert admin.get("/readyz").status_code == 200
    bank = open_bank(tiny_bank_url)
    assert bank.active() == tiny.name
    bank.close()


def test_rollback_with_a_login_that_only_reads_is_409(serve: Serve, tiny: TinyRelease) -> None:
    """The service's own user of deploy/users.acl may not: that is told as what it is, and nothing moves."""
    acl = Path(__file__).parents[3] / "deploy/users.acl"
    with RedisServer("--aclfile", str(acl)) as server:
        urls = {user: server.url.replace("://", f"://{user}:change-me-{user}@") for user in ("publisher", "service")}
        for name in (tiny.name, "newer"):
            publish(urls["publisher"], name)
        response = serve(urls["service"], admin_key="key").post("/admin/rollback", headers={"X-API-Key": "key"})
        assert response.status_code == 409
        assert "The bank refuses this" in response.json()["detail"]
        bank = open_bank(urls["publisher"])
        assert bank.active() == "newer"
        bank.close()


def test_reload_takes_a_body_of_any_type(admin: TestClient, tiny: TinyRelease) -> None:
    """As `curl -d` sends it, which calls every body a form."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    response = admin.post("/admin/reload", headers=utf8(KEY | form), content=json.dumps({"release": tiny.name}))
    assert response.json() == {"release": tiny.name, "before": tiny.name}


def test_rollback_without_a_bank_is_503(serve: Serve) -> None:
    """A bank that does not answer is not the client's fault."""
    admin = serve("redis://127.0.0.1:1", admin_key="key")
    response = admin.post("/admin/rollback", headers={"X-API-Key": "key"})
    assert response.status_code == 503
    assert "127.0.0.1" not in response.text
