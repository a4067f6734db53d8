"""Fixtures of the service room: a tiny release, banks that hold it, and the application over them."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from tests.service.tiny_release import TinyRelease, write_release
from userip.bank.record import UNKNOWN_CODE, Record
from userip.bank.urls import open_bank
from userip.service.app import create_app
from userip.service.observe.log import make_logger
from userip.service.settings import Settings

RECORDS = {
    "u1": Record(1, (0, 1, 1)),
    "u2": Record(0, (3, UNKNOWN_CODE, 0)),  # held out of training: no row of its own
    "a/b c?": Record(2, (1, 2, UNKNOWN_CODE)),
    "Ünï/日本": Record(3, (2, 0, 1)),
    "two\nlines\n": Record(2, (0, 0, 0)),
    "impossible row": Record(99, (0, 0, 0)),
    "impossible code": Record(1, (4, 0, 0)),
}
Serve = Callable[..., TestClient]


def publish(url: str, release: str, records: Mapping[str, Record] = RECORDS, *, activate: bool = True) -> None:
    """Write `records` into the bank under the release's name."""
    rows = np.array([record.row for record in records.values()], np.uint32)
    codes = np.array([record.codes for record in records.values()], np.uint16).reshape(len(records), -1)
    bank = open_bank(url)
    try:
        bank.publish(release, list(records), rows, codes)
        if activate:
            bank.activate(release)
    finally:
        bank.close()


@pytest.fixture
def tiny(tmp_path: Path) -> TinyRelease:
    """A release directory of this test."""
    return write_release(tmp_path / "release")


@pytest.fixture
def lmdb_url(tmp_path: Path, tiny: TinyRelease) -> str:
    """An LMDB bank that holds the tiny release as its active one."""
    url = f"lmdb://{tmp_path}/bank"
    publish(url, tiny.name)
    return url


@pytest.fixture(params=["lmdb", "redis"])
def bank_url(request: pytest.FixtureRequest, tiny: TinyRelease) -> str:
    """A bank of each kind that holds the tiny release as its active one."""
    if request.param == "lmdb":
        return str(request.getfixturevalue("lmdb_url"))
    url = str(request.getfixturevalue("redis_url"))
    publish(url, tiny.name)
    return url


@pytest.fixture
def log() -> io.BytesIO:
    """What the application of this test writes to its log."""
    return io.BytesIO()


@pytest.fixture
def serve(tiny: TinyRelease, log: io.BytesIO) -> Iterator[Serve]:
    """Start the application in this process: `serve(bank_url, max_candidates=5)` gives its client."""
    with ExitStack() as stack:

        def start(bank_url: str, **settings: Any) -> TestClient:  # noqa: ANN401  # any setting
            every = {"access_log": 1} | settings  # a line per request: tests read them
            resolved = Settings(release_dir=tiny.path, bank_url=SecretStr(bank_url), **every)
            app = create_app(resolved, log=make_logger(resolved.log_level, log))
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield start


@pytest.fixture
def client(serve: Serve, lmdb_url: str) -> TestClient:
    """The application over LMDB with default settings."""
    return serve(lmdb_url)
