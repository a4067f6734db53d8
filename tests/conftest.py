"""Fixtures that several rooms share: a private redis-server per session."""

import logging
import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before anything imports ONNX Runtime

from userip.loadtests.servers.redis_server import MISSING, RedisServer


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """What a command of this test set up to log to its standard error, which is gone afterwards, is taken down."""
    root = logging.getLogger()
    before, level = set(root.handlers), root.level
    yield
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in before:
            root.removeHandler(handler)
    root.setLevel(level)


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
