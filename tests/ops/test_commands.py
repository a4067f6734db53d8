"""The bank's commands as a person runs them."""

import io
import json
import subprocess
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from tests.bank.test_urls import MISTYPED, SECRET
from tests.fixtures.banks import make_users
from tests.fixtures.tiny_release import write_release
from userip.bank import open_bank
from userip.commands import main
from userip.loadtests.servers.redis_server import free_port

USERS = make_users(300)


def userip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What `userip` does with `arguments`; in this process, as a start takes longer than the command."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as stop:
            code = int(stop.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def output(*arguments: str) -> str:
    """What a successful run prints."""
    done = userip(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_life_of_a_bank(bank_url: str) -> None:
    """Activate, inspect, roll back and prune, each in one line or one screen."""
    with closing(open_bank(bank_url)) as bank:
        for release in ("a", "b", "c"):
            USERS.publish(bank, release)
    at = ("--bank", bank_url)
    assert "no release is active" in output("inspect", *at)
    assert output("activate", "a", *at) == "active: a\n"
    assert output("activate", "--release", "b", *at) == "active: b (before: a)\n"
    lines = output("inspect", *at).splitlines()
    assert lines[1].split() == ["release", "users", "slots", "size", "bytes/user", "created", "updated"]
    assert [line.split()[:3] for line in lines[2:4]] == [["previous", "a", "300"], ["active", "b", "300"]]
    assert max(len(line) for line in lines) <= 110
    assert output("prune", "--dry-run", *at) == "would delete: c\n"
    assert output("prune", *at) == "deleted: c\n"
    assert output("prune", *at) == "nothing to delete\n"
    found = json.loads(output("inspect", "--json", *at))
    assert (found["active"], found["previous"], found["leftovers"]) == ("b", "a", [])
    assert [(release["name"], release["users"]) for release in found["releases"]] == [("a", 300), ("b", 300)]
    assert found["releases"][0]["bytes_per_user"] > 15
    assert output("rollback", *at) == "active: a (before: b)\n"
    assert output("prune", "--keep", "0", *at) == "deleted: b\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("activate", "nope"), 2, "no complete release 'nope'; it holds a"),
        (("activate",), 2, "give one release"),
        (("activate", "a", "--release", "a"), 2, "give one release"),
        (("rollback",), 2, "no release is active"),
        (("prune", "--keep", "-1"), 2, "--keep"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    """Exit code 2 and one clear line for what the user can fix."""
    url = f"lmdb://{tmp_path / 'bank'}"
    with closing(open_bank(url)) as bank:
        USERS.publish(bank, "a")
    done = userip(*arguments, "--bank", url)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_show_no_password() -> None:
    """A server that is away is named; the password of its URL is not."""
    done = userip("inspect", "--bank", f"redis://:s3cr3t@127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert done.stderr.startswith("userip: redis at 127.0.0.1:")
    assert "s3cr3t" not in done.stderr
    assert userip("inspect", "--bank", "mysql://u:s3cr3t@h").stderr.count("s3cr3t") == 0


@pytest.mark.parametrize("url", MISTYPED[:2] + MISTYPED[5:6] + MISTYPED[-6:-4])
def test_a_mistyped_bank_is_refused_in_one_line(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Inspecting, publishing and serving say what to fix, exit code 2, and show nothing of the password."""
    release = ("--release", str(write_release(tmp_path / "release").path))
    for command in (("inspect",), ("publish", *release), ("serve", *release)):
        with pytest.raises(SystemExit) as stop:
            main([*command, "--bank", url])
        said = capsys.readouterr()
        assert (stop.value.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert said.err.startswith("userip: bank '")
        assert SECRET not in said.err


def test_a_file_where_a_release_directory_belongs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Publishing and serving RELEASE/manifest.json say that the directory is to be named; exit code 2, no traceback."""
    file = write_release(tmp_path / "release").path / "manifest.json"
    for command in ("publish", "serve"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--release", str(file), "--bank", f"lmdb://{tmp_path / 'bank'}"])
        said = capsys.readouterr()
        assert (stop.value.code, said.out) == (2, "")
        assert said.err == (f"userip: {file}: not a directory; give the one that holds manifest.json (RUN/release)\n")


@pytest.mark.parametrize("below", ["", "/bank"])
def test_a_file_where_a_bank_belongs(below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the command, one line says that the bank's place, or what it would lie in, is no directory."""
    (tmp_path / "file").write_text("something else")
    url = f"lmdb://{tmp_path / 'file'}{below}"
    release = ("--release", str(write_release(tmp_path / "release").path))
    for command in (("inspect",), ("rollback",), ("publish", *release), ("serve", *release)):
        with pytest.raises(SystemExit) as stop:
            main([*command, "--bank", url])
        said = capsys.readouterr()
        assert (stop.value.code, said.out) == (2, "")
        assert said.err == (
            f"userip: bank {url!r}: {tmp_path / 'file'} is not a directory; give an existing or a new one\n"
        )


def test_inspect_shows_no_password(redis_url: str) -> None:
    """The bank is shown with its URL, redacted."""
    url = redis_url.replace("redis://", "redis://default:s3cr3t@")  # any password does: the server asks for none
    assert "redis://default:***@" in output("inspect", "--bank", url)
    assert json.loads(output("inspect", "--json", "--bank", url))["bank"].startswith("redis://default:***@")


def test_a_bank_that_is_not_there(tmp_path: Path) -> None:
    """A mistyped path is an error and stays without a directory."""
    done = userip("inspect", "--bank", f"lmdb://{tmp_path / 'typo'}")
    assert done.returncode == 1
    assert "no bank found" in done.stderr
    assert not (tmp_path / "typo").exists()
