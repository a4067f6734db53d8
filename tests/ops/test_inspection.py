"""`userip inspect` over a bank, a release directory and a running service: what agrees, and what does not."""

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.fixtures.process import ServeProcess
from tests.fixtures.serving import RECORDS, publish
from tests.fixtures.tiny_release import TinyRelease, write_release
from userip import commands
from userip.bank.opening import open_bank
from userip.loadtests.servers.redis_server import RedisServer, free_port


def inspect(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """The exit code and what was printed."""
    code: object = 0
    try:
        commands.main(["inspect", *map(str, arguments)])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert err == ""
    assert isinstance(code, int)
    return code, out


def differences(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[str]:
    """What the JSON names as differing; the exit code and the text must say the same."""
    code, text = inspect(capsys, *arguments, "--json")
    document: dict[str, Any] = json.loads(text)
    found: list[str] = document["differences"]
    assert code == bool(found)
    code, text = inspect(capsys, *arguments)
    assert code == bool(found)
    assert re.findall(r"^differs +(.+)$", text, flags=re.MULTILINE) == found
    assert len(text.splitlines()) < 24  # a screen
    return found


def test_directory_is_compared_with_the_bank(
    tmp_path: Path, tiny: TinyRelease, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not published, not active, altered: each is one line that says the fix, and exit code 1."""
    url = f"lmdb://{tmp_path}/bank"
    publish(url, "another")
    at = ("--bank", url, "--release", tiny.path)
    assert differences(capsys, "--bank", url) == []
    assert differences(capsys, *at) == [f"the bank does not hold the directory's release {tiny.name}; publish it"]
    publish(url, tiny.name, activate=False)
    assert differences(capsys, *at) == [f"the directory holds {tiny.name}, active in the bank is another; activate it"]
    with closing(open_bank(url)) as bank:
        bank.activate(tiny.name)
    assert differences(capsys, *at) == []
    _, text = inspect(capsys, *at)
    assert text.splitlines()[-1] == "agrees    the bank and the directory"
    assert re.search(r"exported \d+ days ago", text)
    assert re.search(r"published \d+ seconds? ago", text)
    (tiny.path / "scorer.onnx").write_bytes(b"altered")
    (found,) = differences(capsys, *at)
    assert "scorer.onnx: sha256 differs" in found


def test_service_is_compared_with_both(
    tmp_path: Path, tiny: TinyRelease, lmdb_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that serves what is active agrees; one that stayed behind is told."""
    with ServeProcess(tiny.path, lmdb_url, tmp_path / "log", "--set", "follow_bank=off") as service:
        at = ("--bank", lmdb_url, "--release", tiny.path, "--service", service.url)
        assert differences(capsys, *at) == []
        _, text = inspect(capsys, *at)
        assert re.search(rf"{tiny.name}, loaded \d+ seconds? ago, ready", text)
        assert text.splitlines()[-1] == "agrees    the bank and the directory and the service"
        second = write_release(tiny.path, seed=1)
        publish(lmdb_url, second.name)
        assert differences(capsys, *at) == [
            f"service serves {tiny.name}, active in the bank is {second.name}; activate, or reload it",
            f"service serves {tiny.name}, the directory holds {second.name}; reload it",
        ]


def test_service_that_does_not_answer_is_a_difference(
    tiny: TinyRelease, lmdb_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No service at the port, or no URL of one: one line, no traceback."""
    at = ("--bank", lmdb_url, "--service")
    (away,) = differences(capsys, *at, f"http://127.0.0.1:{free_port()}")
    assert away.startswith("service: does not answer: ")
    (wrong,) = differences(capsys, *at, "file:///etc")
    assert wrong.endswith("is not an http:// or https:// URL")


@pytest.mark.parametrize(
    ("policy", "memory", "words"),
    [
        ("allkeys-lru", "100mb", "drops profiles when memory is short. Set noeviction."),
        ("volatile-ttl", "100mb", "drops locks of publications when memory is short. Set noeviction."),
        ("allkeys-lru", "0", None),
        ("noeviction", "100mb", None),
    ],
)
def test_a_redis_that_evicts_is_warned_of(
    policy: str, memory: str, words: str | None, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Publishing, writing again and inspecting say so in a line and go on; who may not ask (INFO) is told nothing."""
    with RedisServer("--maxmemory-policy", policy, "--maxmemory", memory) as server, server.client() as client:
        publish(server.url, "a")
        expected = [] if words is None else [f"maxmemory-policy is {policy}: Redis {words}"]
        where = f"redis at 127.0.0.1:{server.port}: "
        assert [record.getMessage() for record in caplog.records] == [where + line for line in expected]
        assert differences(capsys, "--bank", server.url) == []
        code, text = inspect(capsys, "--bank", server.url)
        assert (code, re.findall(r"^warning +(.+)$", text, flags=re.MULTILINE)) == (0, expected)
        assert json.loads(inspect(capsys, "--bank", server.url, "--json")[1])["warnings"] == expected
        caplog.clear()
        client.acl_setuser(
            "ann", enabled=True, nopass=True, categories=["+@all"], commands=["-info", "-config"], keys=["*"]
        )
        url = server.url.replace("redis://", "redis://ann:any@")
        publish(url, "b")
        assert caplog.records == []
        assert json.loads(inspect(capsys, "--bank", url, "--json")[1])["warnings"] == []


def test_lost_records_are_a_difference(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Records evicted or deleted past the bank are counted, in every release, with the fix; so is a lost release."""
    at = ("--bank", redis_url)
    for release in ("a", "b"):
        publish(redis_url, release)
    assert differences(capsys, *at) == []
    with closing(redis.Redis.from_url(redis_url)) as client:
        for release in ("a", "b"):
            client.delete(*client.scan_iter(f"userip:1:{release}:*"))
        number = len(RECORDS)
        lost = f"has lost {number} of its {number} records (evicted, or deleted by hand); publish it again"
        assert differences(capsys, *at) == [f"a {lost} with --no-activate", f"b {lost}"]
        client.delete("userip:1:{bank}:release:b")
    assert differences(capsys, *at) == [
        "b is active, and the bank has lost it (evicted, or deleted by hand); publish it",
        f"a {lost} with --no-activate",
    ]
