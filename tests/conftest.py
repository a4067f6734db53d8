"""Fixtures that several rooms share: a private redis-server per session."""

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before anything imports ONNX Runtime

from loadtests.redis_server import MISSING, RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A redis-server of this session on a free loopback port, without persistence."""
    try:
        server = RedisServer()
    except FileNotFoundError:
        pytest.fail(MISSING, pytrace=False)
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The bank URL of the session's redis-server, emptied for this test."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url
