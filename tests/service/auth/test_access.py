"""Who may ask what: keys, scopes, rates, rotation, and the refusal to serve openly by accident."""

import asyncio
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from tests.fixtures.serving import Serve
from tests.fixtures.tiny_release import TinyRelease
from userip.service.auth.access import ApiKeyAuth, refuse_open
from userip.service.auth.api_keys import new_key
from userip.service.errors import StartError
from userip.service.observe.log import make_logger
from userip.service.settings import Settings

BODY = {"user_id": "u1", "item_ids": ["i5"]}
KEYS = {name: new_key(name, scopes.split("+")) for name, scopes in (
    ("shop", "score"), ("board", "profile"), ("both", "score+profile"), ("ops", "admin"))}  # fmt: skip
# (method, path, scope): None = any key
GUARDED: tuple[tuple[str, str, str | None], ...] = (
    ("POST", "/score", "score"),
    ("POST", "/score/batch", "score"),
    ("GET", "/profile/u1", "profile"),
    ("GET", "/release", None),
    ("POST", "/admin/reload", "admin"),
    ("POST", "/admin/rollback", "admin"),
)
OPEN = ("/healthz", "/readyz", "/metrics", "/openapi.json")


def sent_as(name: str) -> dict[str, str]:
    """The header of one of these keys."""
    return {"X-API-Key": KEYS[name][0]}


def write(file: Path, *names: str, more: str = "") -> Path:
    """A key file with the lines of these keys, moved into its place as deployments do."""
    beside = file.with_suffix(".new")
    beside.write_text("\n".join([KEYS[name][1] for name in names] + [more]))
    beside.replace(file)
    return file


def ask(client: TestClient, method: str, path: str, headers: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401
    """One request that would be answered if keys were not asked for."""
    bodies = {"/score": BODY, "/score/batch": {"requests": [BODY]}}
    return client.request(method, path, json=bodies.get(path), headers=headers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A key file with all four keys."""
    return write(tmp_path / "keys.toml", *KEYS)


@pytest.fixture
def closed(serve: Serve, lmdb_url: str, file: Path) -> TestClient:
    """The application with that key file."""
    return serve(lmdb_url, keys_file=file)


@pytest.mark.parametrize(("method", "path", "scope"), GUARDED)
def test_route_wants_a_key_with_its_scope(closed: TestClient, method: str, path: str, scope: str | None) -> None:
    """No key or a wrong one: 401. A key for something else: 403. A key with the scope gets in."""
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "userip_" + "A" * 43},
        {"X-API-Key": KEYS["shop"][1]},
    )
    for headers in wrong:
        response = ask(closed, method, path, headers)
        assert response.status_code == 401
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"] == "ApiKey"
    scopes = {"shop": {"score"}, "board": {"profile"}, "both": {"score", "profile"}, "ops": {"admin"}}
    for name, held in scopes.items():
        response = ask(closed, method, path, sent_as(name))
        if scope is None or scope in held:
            assert response.status_code in (200, 409), response.text  # 409: there is nothing to roll back to
        else:
            assert response.status_code == 403
            assert response.json()["type"] == "urn:userip:problem:forbidden"
            assert scope in response.json()["detail"]


def test_probes_metrics_and_document_need_no_key(closed: TestClient) -> None:
    """Who watches the service needs no key, and learns nothing of any user."""
    closed.post("/score", json=BODY, headers=sent_as("shop"))
    for path in OPEN:
        response = closed.get(path)
        assert response.status_code == 200
        assert "u1" not in response.text.split()


def test_two_keys_in_one_request_are_none(closed: TestClient) -> None:
    """A gateway and the service must not take different ones of two headers for the right one."""
    pair = [("X-API-Key", KEYS["shop"][0]), ("X-API-Key", KEYS["ops"][0])]
    assert closed.post("/score", json=BODY, headers=pair).status_code == 401


def test_host_header_does_not_open_a_route(closed: TestClient) -> None:
    """What the Host header says is no part of the route that is authorised."""
    for host in ("x/healthz?", "localhost/metrics#", "localhost:80/../healthz"):
        assert closed.get("/profile/u1", headers={"host": host}).status_code == 401


@pytest.mark.parametrize("path", ["//score", "/score/", "/./score", "/score%2Fbatch", "/healthz/../profile/u1"])
def test_odd_paths_lead_nowhere_without_a_key(closed: TestClient, path: str) -> None:
    """No spelling of a path reaches an answer past the check."""
    for method in ("GET", "POST"):
        assert closed.request(method, path, json=BODY if method == "POST" else None).status_code in (401, 404, 405)


def test_without_keys_only_admin_is_closed(serve: Serve, lmdb_url: str) -> None:
    """An admin key alone guards the admin routes; scores and profiles stay open, as on a developer's machine."""
    client = serve(lmdb_url, admin_key="a key for the operator")
    assert client.post("/score", json=BODY).status_code == 200
    assert client.get("/profile/u1").status_code == 200
    assert client.post("/admin/reload").status_code == 401
    assert client.post("/admin/reload", headers={"X-API-Key": "a key for the operator"}).status_code == 200


def test_keys_from_the_environment_and_the_admin_key_add_up(serve: Serve, lmdb_url: str, file: Path) -> None:
    """A file, USERIP_KEYS and USERIP_ADMIN_KEY may each bring keys."""
    write(file, "shop")
    client = serve(lmdb_url, keys_file=file, keys=SecretStr(KEYS["board"][1]), admin_key="a key for the operator")
    assert client.post("/score", json=BODY, headers=sent_as("shop")).status_code == 200
    assert client.get("/profile/u1", headers=sent_as("board")).status_code == 200
    admin = {"X-API-Key": "a key for the operator"}
    assert client.get("/profile/u1", headers=admin).status_code == 200
    assert client.post("/admin/reload", headers=admin).status_code == 200


def test_rate_of_a_key_is_held_and_counted_by_its_id(serve: Serve, lmdb_url: str, file: Path, log: io.BytesIO) -> None:
    """Requests over the rate get 429 with Retry-After on every route; other keys and the probes go on."""
    client = serve(lmdb_url, keys_file=file, key_rate=0.001, key_burst=2)
    answers = [client.post("/score", json=BODY, headers=sent_as("shop")) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 429]
    assert 900 < int(answers[-1].headers["retry-after"]) <= 1000
    assert answers[-1].json()["type"] == "urn:userip:problem:rate-limited"
    assert client.get("/release", headers=sent_as("shop")).status_code == 429
    assert client.get("/healthz", headers=sent_as("shop")).status_code == 200
    assert client.get("/profile/u1", headers=sent_as("board")).status_code == 200
    client.get("/profile/u1", headers=sent_as("shop"))
    client.get("/profile/u1", headers=sent_as("ops"))
    client.get("/profile/u1")
    text = client.get("/metrics").text
    for key, outcome, count in (
        ("shop", "accepted", 2), ("shop", "rate_limited", 5), ("board", "accepted", 1), ("ops", "forbidden", 1),
        ("none", "unauthorized", 1),
    ):  # fmt: skip
        assert f'userip_key_requests_total{{key="{key}",outcome="{outcome}"}} {count}.0' in text
    assert b'"key":"shop"' in log.getvalue()
    for key, line in KEYS.values():
        assert key not in text
        assert key.encode() not in log.getvalue()
        assert line.split('"')[3].encode() not in log.getvalue()


def test_keys_rotate_at_a_reload_without_a_restart(closed: TestClient, file: Path) -> None:
    """After POST /admin/reload a new key works and a removed one does not; buckets and requests go on."""
    write(file, "ops", "both")
    assert closed.post("/admin/reload", headers=sent_as("ops")).status_code == 200
    assert closed.post("/score", json=BODY, headers=sent_as("both")).status_code == 200
    assert closed.post("/score", json=BODY, headers=sent_as("shop")).status_code == 401


def test_bad_key_file_at_a_reload_keeps_the_keys_before(closed: TestClient, file: Path, log: io.BytesIO) -> None:
    """A typo in the file locks nobody out; the log says what is wrong."""
    file.write_text("shop = {")
    assert closed.post("/admin/reload", headers=sent_as("ops")).status_code == 200
    assert closed.post("/score", json=BODY, headers=sent_as("shop")).status_code == 200
    assert b"key file could not be read again" in log.getvalue()
    assert b"not TOML" in log.getvalue()


def test_changed_file_is_read_by_itself(tiny: TinyRelease, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every worker looks at the file: a replaced one is in force soon, without anybody's asking."""
    monkeypatch.setattr("userip.service.auth.access._LOOK_EVERY_S", 0.01)
    write(file, "shop")
    settings = Settings(release_dir=tiny.path, bank_url=SecretStr("lmdb:///none"), keys_file=file)
    auth = ApiKeyAuth(settings, make_logger("error", io.BytesIO()))

    async def scenario() -> None:
        following = asyncio.create_task(auth.follow())
        await asyncio.sleep(0.05)
        assert known() == ["shop"]
        write(file, "board", "ops")
        for _ in range(500):
            await asyncio.sleep(0.01)
            if known() != ["shop"]:
                break
        assert known() == ["board", "ops"]
        following.cancel()

    def known() -> list[str]:
        found = auth._keyring
        return [name for name, (key, _) in KEYS.items() if found.find(key.encode()) is not None]

    asyncio.run(scenario())


def test_a_bug_in_reading_keys_is_survived(
    tiny: TinyRelease, file: Path, log: io.BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw keeps the keys before and is logged; the same file is then read again."""
    for place in ("userip.service.auth.access._LOOK_EVERY_S", "userip.scoring.background._SHORTEST_WAIT_S"):
        monkeypatch.setattr(place, 0.01)
    settings = Settings(release_dir=tiny.path, bank_url=SecretStr("lmdb:///none"), keys_file=file)
    auth = ApiKeyAuth(settings, make_logger("error", log))

    async def scenario() -> None:
        following = asyncio.create_task(auth.follow())
        with monkeypatch.context() as patch:
            patch.setattr("userip.service.auth.access.load_keys", unforeseen)
            write(file, "board")
            await until(lambda: b"IndexError" in log.getvalue())
        assert len(auth._keyring) == len(KEYS)
        await until(lambda: len(auth._keyring) == 1)
        following.cancel()

    def unforeseen(_: Settings) -> None:
        raise IndexError("some bug")

    async def until(holds: Callable[[], bool]) -> None:
        for _ in range(500):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError

    asyncio.run(scenario())


def test_one_id_twice_is_refused(serve: Serve, lmdb_url: str, file: Path) -> None:
    """Metrics and logs name keys by id, so two keys with one id stop the start."""
    with pytest.raises(StartError, match="two API keys have the id 'shop'"):
        serve(lmdb_url, keys_file=file, keys=SecretStr(KEYS["shop"][1]))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_may_be_open(tiny: TinyRelease, host: str) -> None:
    """On the machine itself no keys are needed."""
    refuse_open(Settings(release_dir=tiny.path, bank_url=SecretStr("lmdb:///b"), host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_addresses_may_not(tiny: TinyRelease, host: str, file: Path) -> None:
    """Elsewhere keys are needed, or the word of the operator; the error names both."""
    settings = Settings(release_dir=tiny.path, bank_url=SecretStr("lmdb:///b"), host=host)
    with pytest.raises(StartError, match=r"keys_file=FILE.*allow_unauthenticated=true") as caught:
        refuse_open(settings)
    assert caught.value.exit_code == 2
    with pytest.raises(StartError):  # an admin key guards the admin routes only
        refuse_open(settings.model_copy(update={"admin_key": SecretStr("k" * 40)}))
    refuse_open(settings.model_copy(update={"keys_file": file}))
    refuse_open(settings.model_copy(update={"allow_unauthenticated": True}))


def test_document_says_which_route_wants_what(closed: TestClient, serve: Serve, lmdb_url: str) -> None:
    """OpenAPI: the scheme, and per operation the scope and the problems that come with it."""
    document = closed.get("/openapi.json").json()
    scheme = document["components"]["securitySchemes"]["ApiKey"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "X-API-Key")
    for method, path, scope in GUARDED:
        operation = document["paths"][path.replace("u1", "{user_id}")][method.lower()]
        assert operation["security"] == [{"ApiKey": [scope] if scope else []}]
        assert {"401", "403", "429"} <= set(operation["responses"])
    for path in OPEN[:3]:
        assert "security" not in document["paths"][path]["get"]
    assert "securitySchemes" not in serve(lmdb_url).get("/openapi.json").json()["components"]
