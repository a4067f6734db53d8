"""Secrets planted in every place that takes one, and looked for in everything that leaves a running service."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.fixtures.process import ServeProcess
from tests.fixtures.serving import publish
from tests.fixtures.tiny_release import TinyRelease, write_release
from userip.bank.user_id_secret import VARIABLE
from userip.loadtests.servers.redis_server import RedisServer
from userip.service.auth.api_keys import new_key

PASSWORD, ADMIN, USERS = "planted-bank-password", "planted-admin-key-0123", "planted-user-key-0123456789"
BODY = {"user_id": "u1", "item_ids": ["i5"]}


def descendants(pid: int) -> Iterator[int]:
    """A process and all that it started, however deep."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from descendants(int(child))


def outputs(service: ServeProcess, api_key: str) -> Iterator[bytes]:
    """Everything that the service says: answers to good, bad and hostile requests, and to wrong keys."""
    with httpx2.Client(base_url=service.url, timeout=10) as client:
        for key in (None, api_key, ADMIN, api_key[:-1], ADMIN + "x"):
            headers = {} if key is None else {"X-API-Key": key}
            for method, path in (
                ("POST", "/score"), ("POST", "/score/batch"), ("GET", "/profile/u1"), ("GET", "/profile/nobody"),
                ("GET", "/release"), ("GET", "/metrics"), ("GET", "/readyz"), ("GET", "/openapi.json"),
                ("POST", "/admin/reload"), ("POST", "/admin/rollback"), ("GET", "/nowhere"),
            ):  # fmt: skip
                answer = client.request(method, path, headers=headers, json=BODY if "score" in path else None)
                yield answer.content + str(answer.headers).encode()
            yield client.post("/score", content=b"{", headers=headers).content
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nx-api-key: {api_key}\x00\r\n\r\n".encode())
        yield connection.recv(65536)


@pytest.fixture
def locked() -> Iterator[RedisServer]:
    """A bank that wants the planted password."""
    with RedisServer("--requirepass", PASSWORD) as server:
        yield server


def test_no_secret_leaves_the_service(
    tmp_path: Path, tiny: TinyRelease, locked: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bank password, admin key, API key and user key: in no answer, log, metric, file or command line of any process.

    Also while things go wrong: a reload that fails, a bank that goes away, a worker that is told to stop.
    """
    api_key, line = new_key("shop", ["score", "profile"])
    digest = line.split('"')[3]
    url = f"redis://:{PASSWORD}@127.0.0.1:{locked.port}"
    monkeypatch.setenv(VARIABLE, USERS)
    publish(url, tiny.name)
    shared = tmp_path / "shared"
    env = {"USERIP_KEYS": line, VARIABLE: USERS, "USERIP_RUNTIME_DIR": str(shared), "USERIP_ACCESS_LOG": "1"}
    for name, content in (("ADMIN_KEY", ADMIN), ("BANK_URL", url)):
        (tmp_path / name).write_text(content + "\n")
        env[f"USERIP_{name}_FILE"] = str(tmp_path / name)
    arguments = ("--workers", "2", "--log-level", "debug", "--set", "cache_records=0")
    said: list[bytes] = []
    with ServeProcess(tiny.path, None, tmp_path / "log", *arguments, env=env) as service:
        known = service.client.post("/score", json=BODY, headers={"X-API-Key": api_key})
        assert known.json()["profile"] == "known"  # password and user key are in use
        said += outputs(service, api_key)
        said += [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(service.process.pid)]
        assert len(said) > 3 + 5 * 12
        write_release(tiny.path, seed=1)  # not published: a reload fails
        locked.kill()
        said += outputs(service, api_key)
        with contextlib.suppress(Exception):
            said.append(service.client.get("/readyz").content)
        said += [file.read_bytes() for file in shared.rglob("*") if file.is_file()]
        service.stop()
    said.append((tmp_path / "log").read_bytes())
    assert b"request" in said[-1]
    for secret in (PASSWORD, ADMIN, USERS, api_key, digest):
        assert not [text for text in said if secret.encode() in text], secret
