"""`make lock` and `make setup`: hashes for every pin but torch's, and an install that insists on them."""

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def digest(filename: str) -> str:
    """What the index of these tests says of a file."""
    return hashlib.sha256(filename.encode()).hexdigest()


FILES = {
    "thing": [
        "thing-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "thing-1.0-cp311-cp311-win_amd64.whl",
        "thing-1.0.tar.gz",
        "thing-1.0.win32-py2.7.exe",
        "thing-1.0.1-py3-none-any.whl",
        "thing-2.0-py3-none-any.whl",
    ],
    "under-score": ["under_score-3.1-py3-none-any.whl"],
    "setuptools": ["setuptools-84.2.1-py3-none-any.whl"],
}
OF_THING = sorted(map(digest, FILES["thing"][:3]))


@pytest.fixture
def index() -> Iterator[tuple[str, list[str]]]:
    """A simple index (PEP 691), and the names that it was asked for."""
    asked: list[str] = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            asked.append(name)
            if self.headers["Accept"] != "application/vnd.pypi.simple.v1+json" or name not in FILES:
                self.send_error(404)
                return
            files = [{"filename": each, "hashes": {"sha256": digest(each)}} for each in FILES[name]]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"files": files}).encode())

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


BASE = "# made\nthing==1.0\n    # via userip (pyproject.toml)\n"
COMPILED = {
    "base": BASE,
    "train": "# made\nthing==1.0\n    # via torch\ntorch==2.13.0+cpu\n    # via userip (pyproject.toml)\n",
    "load": BASE,
    "dev": "# made\nunder-score==3.1\n    # via thing\n\n# unsafe:\nsetuptools==84.2.1\n    # via other\n",
    "baselines": "# made\ntorch==2.13.0\n    # via\n    #   -c requirements/train.txt\n    #   deep\nthing==1.0\n",
    "tracing": BASE,
    "build": "# made\nsetuptools==84.2.1\n    # via userip (pyproject.toml::build-system.requires)\n",
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A checkout whose pip-compile writes the files of `COMPILED`, and whose old pins have no hashes."""
    (tmp_path / "tools").mkdir()
    for name in ("lock.sh", "pin_hashes.py", "setup.sh"):
        shutil.copy(ROOT / "tools" / name, tmp_path / "tools")
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    (tmp_path / "compiled").mkdir()
    (tmp_path / "requirements").mkdir()
    for layer, text in COMPILED.items():
        (tmp_path / f"compiled/{layer}.txt").write_text(text)
        (tmp_path / f"requirements/{layer}.txt").write_text("# old\n")
    compile_ = f'while [ "$1" != --output-file ]; do shift; done\ncp "{tmp_path}/compiled/$(basename "$2")" "$2"'
    _program(programs / "pip-compile", compile_)
    _program(programs / "python", f'exec {sys.executable} "$@"')
    return tmp_path


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _run(place: Path, script: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"no_proxy": "*"} | settings
    command = [str(place / "tools" / script), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _written(place: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in (place / "requirements").iterdir()}


def _hashed(pin: str, digests: list[str]) -> str:
    return " \\\n".join([pin, *(f"    --hash=sha256:{each}" for each in digests)]) + "\n"


def test_lock_pins_all_files_of_a_version_and_nothing_else(place: Path, index: tuple[str, list[str]]) -> None:
    """Wheels of every platform and the source of that very version; no installer, no other version."""
    done = _run(place, "lock.sh", LOCK_INDEX=index[0])
    assert done.returncode == 0, done.stderr
    written = _written(place)
    assert written["base"] == "# made\n" + _hashed("thing==1.0", OF_THING) + "    # via userip (pyproject.toml)\n"
    assert written["dev"] == (
        "# made\n"
        + _hashed("under-score==3.1", [digest("under_score-3.1-py3-none-any.whl")])
        + "    # via thing\n\n# unsafe:\n"
        + _hashed("setuptools==84.2.1", [digest("setuptools-84.2.1-py3-none-any.whl")])
        + "    # via other\n"
    )
    assert sorted(index[1]) == sorted(FILES)  # each once, and never torch


def test_lock_puts_torch_into_its_own_file(place: Path, index: tuple[str, list[str]]) -> None:
    """torch leaves the layers; its file says why, pins the version without a build, and names who asks for it."""
    assert _run(place, "lock.sh", LOCK_INDEX=index[0]).returncode == 0
    written = _written(place)
    lines = written.pop("torch").splitlines()
    comment = " ".join(line for line in lines if line.startswith("#"))
    assert "without a hash" in comment
    assert [line for line in lines if not line.startswith("#")] == [
        "torch==2.13.0",
        "    # via",
        "    #   deep",
        "    #   userip (pyproject.toml)",
    ]
    assert [name for name, text in written.items() if "torch==" in text] == []


def test_pin_that_stays_keeps_its_hashes(place: Path, index: tuple[str, list[str]]) -> None:
    """A file that is added to a version after it was pinned is not let in by the next lock; a new pin is asked for."""
    for layer in ("base", "train"):
        (place / f"requirements/{layer}.txt").write_text(_hashed("thing==1.0", OF_THING[:1]))
    assert _run(place, "lock.sh", LOCK_INDEX=index[0]).returncode == 0
    assert _hashed("thing==1.0", OF_THING[:1]) + "    # via torch\n" in _written(place)["train"]
    assert sorted(index[1]) == ["setuptools", "under-score"]


@pytest.mark.parametrize(
    ("pin", "words"), [("thing==9.0", "lists no file of this version"), ("gone==1.0", "did not answer: HTTP Error 404")]
)
def test_pin_unknown_to_the_index_fails_the_lock(
    place: Path, index: tuple[str, list[str]], pin: str, words: str
) -> None:
    """A version without files is named, and no requirement file is left without its hashes."""
    before = _written(place)
    (place / "compiled/load.txt").write_text(f"{pin}\n")
    done = _run(place, "lock.sh", LOCK_INDEX=index[0])
    assert done.returncode == 1
    assert f"pin_hashes: {pin}: {index[0]} {words}" in done.stderr
    assert done.stderr.endswith("lock: failed, requirements/ is as before\n")
    assert _written(place) == before


def test_lock_that_cannot_resolve_changes_nothing(place: Path, index: tuple[str, list[str]]) -> None:
    """A pip-compile that fails at a later layer leaves the earlier files as they were."""
    before = _written(place)
    (place / "compiled/dev.txt").unlink()
    assert _run(place, "lock.sh", LOCK_INDEX=index[0]).returncode == 1
    assert _written(place) == before
    assert index[1] == []


@pytest.fixture
def calls(place: Path) -> Path:
    """What .venv's Python was run with, a line each; `pip check` finds what the file `lacking` says."""
    log = place / "calls"
    check = f'[ "$3" != check ] || [ ! -e "{place}/lacking" ] || {{ cat "{place}/lacking"; exit 1; }}'
    _program(place / ".venv/bin/python", f'echo "$*" >>"{log}"\n{check}')
    return log


def test_setup_wants_a_hash_for_all_but_torch(place: Path, calls: Path) -> None:
    """The named files in hash mode and nothing beside them; then torch; then the project, which fetches nothing."""
    done = _run(place, "setup.sh", "requirements/base.txt", "requirements/train.txt")
    assert done.returncode == 0, done.stderr
    installs = [line.split(" install ")[1] for line in calls.read_text().splitlines() if " install " in line]
    always = "--quiet --disable-pip-version-check"
    assert installs == [
        f"{always} --require-hashes --no-deps --requirement requirements/base.txt --requirement requirements/train.txt",
        f"{always} --requirement requirements/torch.txt",
        f"{always} --no-deps --no-build-isolation --editable .",
    ]


def test_setup_says_what_the_pins_lack(place: Path, calls: Path) -> None:
    """On a machine for which the pins are not complete, setup fails and names what is missing."""
    (place / "lacking").write_text("thing 1.0 requires other, which is not installed.\n")
    done = _run(place, "setup.sh", "requirements/base.txt")
    assert done.returncode == 1
    assert "thing 1.0 requires other, which is not installed.\n" in done.stderr
    assert "setup: the pinned requirements" in done.stderr
    assert " check" in calls.read_text()
