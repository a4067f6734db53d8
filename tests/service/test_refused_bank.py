"""A bank that refuses the service's login: at the start, and when the password changes under it."""

import io
import json
from pathlib import Path

import pytest
import redis
from starlette.testclient import TestClient

from tests.fixtures.redis_cluster import make_whole
from tests.fixtures.serving import Serve, publish
from tests.fixtures.tiny_release import TinyRelease
from tests.service.test_server import start_fails
from userip.loadtests.servers.redis_server import RedisServer, free_port

RIGHTS = ["+lindex", "+hgetall", "+hget", "+cluster", "+command"]


def let_in(admin: redis.Redis, password: str) -> None:
    """From now on the service's user has this password and no other; connections that it has are closed."""
    admin.acl_setuser(
        "service", enabled=True, reset_passwords=True, passwords=[f"+{password}"], commands=RIGHTS, keys=["userip:*"]
    )
    admin.client_kill_filter(_type="normal", skipme=True)


def outcome(client: TestClient) -> str:
    """What becomes of a user whom the bank knows."""
    response = client.post("/score", json={"user_id": "u1", "item_ids": ["plain"]})
    assert response.status_code == 200
    return str(response.json()["profile"])


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_password_that_changes_under_a_running_service(
    serve: Serve, tiny: TinyRelease, log: io.BytesIO, scheme: str
) -> None:
    """Users are scored without profile; /readyz, metric and log say `refused`, and whose; then all is well again."""
    clustered = scheme == "redis+cluster"
    with RedisServer(
        *(("--cluster-enabled", "yes", "--cluster-port", str(free_port())) if clustered else ())
    ) as server:
        if clustered:
            make_whole(server)
        publish(f"{scheme}://127.0.0.1:{server.port}", tiny.name)
        with server.client() as admin:
            let_in(admin, "first")
            url = f"{scheme}://service:first@127.0.0.1:{server.port}"
            client = serve(
                url, cache_records=0, bank_deadline_ms=2000, deadline_ms=9000, breaker_failures=0, follow_bank="off"
            )
            assert (outcome(client), client.get("/readyz").status_code) == ("known", 200)
            let_in(admin, "second")
            seen = {outcome(client) for _ in range(10)}  # of a cluster's connections, each breaks first
            assert seen == {"unavailable"}
            unready = client.get("/readyz")
            assert unready.status_code == 503
            assert unready.json()["errors"][0]["problem"].startswith("access refused: a wrong password")
            assert 'userip_bank_failures_total{reason="refused"}' in client.get("/metrics").text
            profile = client.get("/profile/u1")
            assert (profile.status_code, profile.json()["title"]) == (503, "Bank unavailable")
            let_in(admin, "first")
            assert (outcome(client), client.get("/readyz").status_code) == ("known", 200)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["problem"] for line in lines if line.get("failure") == "refused"]
    assert "user 'service' with the password from the URL may not log in" in log.getvalue().decode()
    assert "first@" not in log.getvalue().decode()


def test_a_right_that_is_taken_away_is_not_ready(serve: Serve, tiny: TinyRelease, redis_url: str) -> None:
    """Who may read the release and none of its records is refused, not ready."""
    publish(redis_url, tiny.name)
    with redis.Redis.from_url(redis_url) as admin:
        let_in(admin, "first")
        try:
            client = serve(redis_url.replace("://", "://service:first@"), bank_deadline_ms=2000, deadline_ms=9000)
            assert client.get("/readyz").status_code == 200
            admin.acl_setuser("service", enabled=True, commands=["-hget"])
            problem = client.get("/readyz").json()["errors"][0]["problem"]
        finally:
            admin.acl_deluser("service")
    assert problem.startswith("access refused")


def test_serve_does_not_start_on_a_bank_that_refuses_it(tmp_path: Path, tiny: TinyRelease) -> None:
    """Wrong password or missing right: one line that names what to fix, exit code 2."""
    with RedisServer() as server:
        publish(server.url, tiny.name)
        with server.client() as admin:
            let_in(admin, "right")
            admin.acl_setuser(
                "half", enabled=True, passwords=["+right"], commands=["+lindex", "+hgetall"], keys=["userip:*"]
            )
        for login, said in {
            "service:wrong": "user 'service' with the password from the URL may not log in",
            "half:right": "user 'half' with the password from the URL lacks a right",
        }.items():
            line = start_fails(tmp_path, "--release", tiny.path, "--bank", server.url.replace("://", f"://{login}@"))
            assert f"redis at 127.0.0.1:{server.port}: access refused: {said}" in line
            assert "wrong@" not in line
