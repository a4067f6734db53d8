"""Measuring a running service from the command line."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.loadtests.small_server import SmallServer
from tests.service.tiny_release import ITEMS, write_release
from userip.loadtests.score_latency import main
from userip.loadtests.servers.redis_server import free_port


def _release(directory: Path) -> str:
    release = write_release(directory / "release").path
    pl.DataFrame({"user_id": ["a", "b"], "row": [1, 2]}).write_parquet(release / "profiles.parquet")
    return str(release)


def test_users_and_items_of_the_release_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures of a short run are printed."""
    with SmallServer(lambda _, body: (200, body)) as server:
        url = f"http://127.0.0.1:{server.port}"
        main(["--url", url, "--release", _release(tmp_path), "--candidates", "3", "--seconds", "0.2"])
        bodies = [json.loads(body) for _, _, body in server.asked]
    assert {body["user_id"] for body in bodies} == {"a", "b"}
    assert {item for body in bodies for item in body["item_ids"]} == set(ITEMS)
    assert {len(body["item_ids"]) for body in bodies} == {3}
    out = capsys.readouterr().out
    assert all(word in out for word in ("p50", "p99", "requests/s", "scores/s", "failed       0"))


def test_a_service_that_is_away_is_one_line(tmp_path: Path) -> None:
    """The URL is named."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(SystemExit, match=f"score_latency: {url}: "):
        main(["--url", url, "--release", _release(tmp_path), "--seconds", "0.1"])
