"""Latency of `POST /score` against a running service.

    python -m loadtests.score_latency --url http://127.0.0.1:8000 --release RUN/release --candidates 100

Each connection sends one request after the other (closed loop) over HTTP keep-alive on a plain socket: a
client library would take longer than the service. Items come from the release's items.npz; users from its
profiles.parquet where polars is installed, else they are made up and served with the default profile.
"""

import argparse
import json
import socket
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

VARIANTS = 500  # different bodies, so that nothing is answered from a cache by chance


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print p50, p95, p99 in milliseconds, requests per second, and answers by profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--release", type=Path, required=True, help="directory to take item and user ids from")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    place = urlsplit(options.url)
    requests = make_requests(options.release, options.candidates, options.seed, place.netloc)
    clients = [
        Client(place.hostname or "127.0.0.1", place.port or 80, requests[i :: options.connections])
        for i in range(options.connections)
    ]
    for client in clients:
        client.run(0.5)  # warm up
    threads = [threading.Thread(target=client.run, args=(options.seconds,)) for client in clients]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report(clients, time.perf_counter() - started, options.candidates)


def make_requests(release: Path, candidates: int, seed: int, host: str) -> list[bytes]:
    """Whole HTTP requests with random users and random distinct candidates of the release."""
    with np.load(release / "items.npz", allow_pickle=False) as arrays:
        blob, cuts = arrays["blob"].tobytes(), arrays["offsets"].tolist()
    items = [blob[start:end].decode() for start, end in pairwise(cuts)]
    users = _users(release)
    chance = np.random.default_rng(seed)
    head = f"POST /score HTTP/1.1\r\nHost: {host}\r\nContent-Length: "
    requests = []
    for _ in range(VARIANTS):
        chosen = chance.choice(len(items), candidates, replace=candidates > len(items))
        user = users[int(chance.integers(len(users)))]
        body = json.dumps({"user_id": user, "item_ids": [items[i] for i in chosen]}).encode()
        requests.append(head.encode() + b"%d\r\n\r\n" % len(body) + body)
    return requests


def _users(release: Path) -> list[str]:
    try:
        import polars as pl
    except ModuleNotFoundError:
        return [f"user-{i}" for i in range(1000)]
    if not (release / "profiles.parquet").exists():
        return [f"user-{i}" for i in range(1000)]
    return pl.read_parquet(release / "profiles.parquet", columns=["user_id"])["user_id"].to_list()


class Client:
    """One kept connection; notes the time of every request and the profile of every answer."""

    def __init__(self, host: str, port: int, requests: Sequence[bytes]) -> None:
        self._requests = requests
        self._socket = socket.create_connection((host, port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seconds: list[float] = []
        self.profiles: dict[str, int] = {}
        self.failed = 0

    def run(self, seconds: float) -> None:
        """Send requests for `seconds`, forgetting what was noted before."""
        self.seconds, self.profiles, self.failed = [], {}, 0
        until = time.perf_counter() + seconds
        number = 0
        while (now := time.perf_counter()) < until:
            self._socket.sendall(self._requests[number % len(self._requests)])
            status, body = self._read()
            self.seconds.append(time.perf_counter() - now)
            number += 1
            if status == 200:
                profile = body.partition(b'"profile":"')[2].partition(b'"')[0].decode()
                self.profiles[profile] = self.profiles.get(profile, 0) + 1
            else:
                self.failed += 1

    def _read(self) -> tuple[int, bytes]:
        data = self._socket.recv(1 << 16)
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        while len(body) < length:
            body += self._more()
        return int(head[9:12]), body

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the service closed the connection in the middle of an answer")
        return data


def report(clients: Sequence[Client], seconds: float, candidates: int) -> None:
    """Print the figures of all connections together."""
    times = np.concatenate([np.array(client.seconds) for client in clients]) * 1000
    profiles: dict[str, int] = {}
    for client in clients:
        for name, count in client.profiles.items():
            profiles[name] = profiles.get(name, 0) + count
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    print(f"candidates   {candidates}, connections {len(clients)}, requests {len(times)}")
    print(f"latency ms   p50 {p50:.3f}  p95 {p95:.3f}  p99 {p99:.3f}  max {times.max():.3f}")
    rate = len(times) / seconds
    print(f"throughput   {rate:.0f} requests/s, {rate * candidates:.0f} scores/s")
    print(f"profiles     {profiles}, failed {sum(client.failed for client in clients)}")


if __name__ == "__main__":
    main()
