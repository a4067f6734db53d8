"""`make lock` and `make setup`: hashes for every pin but torch's, and an install that insists on them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


LAYERS = ("base", "train", "load", "dev", "baselines", "tracing", "build")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A checkout with old pins, whose `uv` notes its arguments and writes them into the file that it is to write."""
    (tmp_path / "tools").mkdir()
    for name in ("lock.sh", "setup.sh"):
        shutil.copy(ROOT / "tools" / name, tmp_path / "tools")
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "pyproject.toml").write_text('[build-system]\nrequires = ["builder>=7"]\nx = ["torch==9.1"]\n')
    for layer in LAYERS:
        (tmp_path / f"requirements/{layer}.txt").write_text("# old\n")
    (tmp_path / "requirements/torch.txt").write_text("# why\ntorch==8.0\n")
    given = 'all="$*"; while [ "$1" != --output-file ]; do shift; done\n'
    _program(programs / "uv", f'{given}[ "$2" != "$FAIL_AT" ] || exit 1\necho "$all" >"$2"; cat >>"$2"')
    _program(programs / "python", f'exec {sys.executable} "$@"')
    return tmp_path


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _run(place: Path, script: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [str(place / "tools" / script), *arguments]
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)


def _written(place: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in (place / "requirements").iterdir()}


def test_each_layer_is_pinned_with_hashes_for_every_platform_beside_those_before_it(place: Path) -> None:
    """Every layer asks for its own extra, hashes and all platforms, and is held to torch's pin and earlier layers."""
    done = _run(place, "lock.sh", "--upgrade")
    assert done.returncode == 0, done.stderr
    written = _written(place)
    for number, layer in enumerate(LAYERS):
        asked = written[layer].splitlines()[0]
        assert "--universal" in asked
        assert "--generate-hashes" in asked
        assert "--upgrade" in asked
        assert "index" not in asked
        constraints = re.findall(r"--constraints requirements/(\w+)\.txt", asked)
        assert constraints == ["torch", *LAYERS[:number]]
        assert re.findall(r"--extra (\w+)", asked) == ([] if layer in ("base", "build") else [layer])
    assert "builder>=7" in written["build"]


def test_torch_stays_apart_at_the_declared_version(place: Path) -> None:
    """No layer emits torch; its own file keeps its comment and has the version of pyproject.toml, without a hash."""
    assert _run(place, "lock.sh").returncode == 0
    written = _written(place)
    assert written.pop("torch") == "# why\ntorch==9.1\n"
    assert all("--no-emit-package torch" in text for text in written.values())


def test_lock_that_cannot_resolve_changes_nothing(place: Path) -> None:
    """A failure at a later layer leaves the earlier files, and torch's, as they were."""
    before = _written(place)
    done = _run(place, "lock.sh", FAIL_AT="requirements/dev.txt")
    assert done.returncode == 1
    assert done.stderr.endswith("lock: failed, requirements/ is as before\n")
    assert _written(place) == before


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
