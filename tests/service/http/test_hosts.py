"""Whose Host header is answered, on raw sockets against a real `userip serve`."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.process import ServeProcess
from tests.fixtures.serving import publish
from tests.fixtures.tiny_release import write_release
from userip.service.http.hosts import DEFAULT, AllowedHosts


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a release lies, and a bank that holds it."""
    place = tmp_path_factory.mktemp("hosts")
    tiny = write_release(place / "release")
    publish(f"lmdb://{place}/bank", tiny.name)
    return place


@pytest.fixture(scope="module")
def service(place: Path) -> Iterator[ServeProcess]:
    """A service without keys and with default settings."""
    with ServeProcess(place / "release", f"lmdb://{place}/bank", place / "log") as running:
        yield running


def ask(port: int, path: str, *hosts: str, version: str = "1.1") -> tuple[int, bytes]:
    """Status and body of the answer to a GET with these Host headers, the last one of its connection."""
    lines = [f"GET {path} HTTP/{version}", *(f"Host: {host}" for host in hosts), "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


def test_page_of_another_name_reads_no_profile(service: ServeProcess) -> None:
    """DNS rebinding: a browser that was told that evil.example is 127.0.0.1 is refused, and the operator told why."""
    assert ask(service.port, "/profile/u1", f"127.0.0.1:{service.port}")[0] == 200
    for host in ("evil.example", f"evil.example:{service.port}", "localhost.evil.example", "127.0.0.1.evil.example",
                 "127.0.0.1@evil.example", "192.0.2.1", ""):  # fmt: skip
        status, body = ask(service.port, "/profile/u1", host)
        problem = json.loads(body)
        assert (status, problem["type"], problem["status"]) == (421, "urn:userip:problem:foreign-host", 421)
        assert "USERIP_ALLOWED_HOSTS" in problem["detail"]


@pytest.mark.parametrize("path", ["/profile/u1", "/healthz"])
@pytest.mark.parametrize("hosts", [(), ("localhost", "localhost"), ("localhost", "evil.example")])
def test_request_has_one_host(service: ServeProcess, path: str, hosts: tuple[str, ...]) -> None:
    """None, or two, is malformed, on whichever route."""
    status, body = ask(service.port, path, *hosts)
    assert (status, json.loads(body)["type"]) == (400, "urn:userip:problem:host-missing")


def test_probes_are_answered_by_whatever_name(service: ServeProcess) -> None:
    """A kubelet and Prometheus call a pod by its address; load balancers probe in HTTP/1.0 without a Host."""
    for path in ("/healthz", "/readyz", "/metrics", "/healthz?verbose"):
        assert ask(service.port, path, "192.0.2.1:8000")[0] == 200
        assert ask(service.port, path, version="1.0")[0] == 200
    assert ask(service.port, "/profile/u1", version="1.0")[0] == 400


def test_kept_connection_is_asked_for_the_host_of_each_request(service: ServeProcess) -> None:
    """One request with the right name opens nothing for the next; the answer before it is whole."""
    good = b"GET /profile/u1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(good)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(good.replace(b"localhost", b"evil.example"))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert b"codes" not in answer


def test_hosts_are_told_by_the_setting_or_do_not_matter_with_keys(place: Path, tmp_path: Path) -> None:
    """Names that are set are answered, and the default ones no longer; with API keys the key alone decides."""
    release, bank = place / "release", f"lmdb://{place}/bank"
    with ServeProcess(release, bank, tmp_path / "log", "--set", "allowed_hosts=users.shop, 10.0.0.0/8") as service:
        found = [ask(service.port, "/profile/u1", host)[0] for host in ("Users.Shop:80", "10.1.2.3", "localhost")]
        assert found == [200, 200, 421]
    with ServeProcess(release, bank, tmp_path / "log", env={"USERIP_ALLOWED_HOSTS": "*"}) as service:
        assert ask(service.port, "/profile/u1", "any.example")[0] == 200
    keys = tmp_path / "keys.toml"
    keys.write_text(f'k = {{ sha256 = "{"0" * 64}", scopes = ["profile"] }}\n')
    with ServeProcess(release, bank, tmp_path / "log", "--set", f"keys_file={keys}") as service:
        assert ask(service.port, "/profile/u1", "any.example")[0] == 401
        assert ask(service.port, "/profile/u1")[0] == 400


@pytest.mark.parametrize(
    ("setting", "host", "allowed"),
    [
        (DEFAULT, "LOCALHOST.", True),
        (DEFAULT, "127.8.8.8:1", True),
        (DEFAULT, "[::1]:8000", True),
        (DEFAULT, "[::2]", False),
        (DEFAULT, "::1", False),
        (DEFAULT, "127.0.0.1:80:80", False),
        (DEFAULT, "2130706433", False),
        ("fd00::/8", "[fd00::7]", True),
        ("user-ip.default.svc", "user-ip.default.svc:80", True),
        ("user-ip.default.svc", "user-ip.default.svc.evil.example", False),
        ("*, localhost", "\xff", True),
        ("localhost", "\xff", False),
    ],
)
def test_what_a_setting_allows(setting: str, host: str, allowed: bool) -> None:
    """Names whole and whatever their case, addresses in their networks, ports passed over."""
    assert (host.encode("latin-1") in AllowedHosts(setting)) is allowed
