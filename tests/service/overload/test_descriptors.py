"""A service that runs out of file descriptors."""

import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import httpx2

from tests.fixtures.process import ServeProcess
from tests.fixtures.tiny_release import TinyRelease


def test_connections_are_refused_while_there_are_descriptors_for_the_service_itself(
    tmp_path: Path, tiny: TinyRelease, lmdb_url: str
) -> None:
    """With a low RLIMIT_NOFILE: connections beyond it are closed, logged once and counted, and an eighth of it is kept
    back; earlier connections are answered, and later ones as well once there is room."""
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log") as service, ExitStack() as clients:
        assert service.score().json()["profile"] == "known"
        resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        idle = []
        for _ in range(70):
            idle.append(clients.enter_context(socket.create_connection(("127.0.0.1", service.port))))
            time.sleep(0.01)
        assert service.score().json()["profile"] == "known"
        assert len(list(Path(f"/proc/{service.process.pid}/fd").iterdir())) == 64 - 8
        assert sum(_is_closed(connection) for connection in idle) > 20
        (line,) = [line for line in service.lines() if "descriptor" in line["event"]]
        assert (line["level"], line["limit"]) == ("error", 64)
        assert "userip_connections_refused_total 0.0" not in service.client.get("/metrics").text
        for connection in idle:
            connection.close()
        time.sleep(0.5)
        assert httpx2.get(f"{service.url}/healthz").status_code == 200


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
