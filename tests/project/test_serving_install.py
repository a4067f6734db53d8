"""The service image's own install and start commands, in a scratch environment: it serves without torch."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import numpy as np
import pytest

from tests.fixtures.tiny_release import write_release
from tests.project.dockerfile import copy_context, read_dockerfile
from userip.bank import open_bank
from userip.bank.release_records import ReleaseRecords
from userip.loadtests.servers.redis_server import free_port

ROOT = Path(__file__).parents[2]
OFFLINE = re.compile(r"Failed to establish|Temporary failure in name|Network is unreachable|Max retries exceeded")
LIBRARIES_OF_TRAINING = ("torch", "transformers", "polars", "pandas", "ray", "sklearn", "pyarrow", "onnx")

pytestmark = pytest.mark.slow


def _environment(**settings: str) -> dict[str, str]:
    """As in an image: no settings of this shell."""
    dropped = ("USERIP_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)} | settings


def _run(*arguments: str | Path, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run to the end, away from the repository."""
    environment = _environment(**settings)
    return subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment built by the COPY and RUN instructions of the Dockerfile's `build` stage."""
    source = tmp_path_factory.mktemp("src")
    environment, wheel = tmp_path_factory.mktemp("environment") / "userip", tmp_path_factory.mktemp("wheel")
    stage = read_dockerfile(ROOT / "Dockerfile")["build"]
    for instruction in stage.instructions:
        words = shlex.split(instruction.text)
        if instruction.name == "COPY":
            if words == [".", "."]:
                copy_context(ROOT, source)
            else:
                (source / words[-1]).mkdir(parents=True, exist_ok=True)
                for name in words[:-1]:
                    shutil.copy(ROOT / name, source / words[-1])
        if instruction.name == "RUN":
            program, *rest = [
                word.replace("/opt/userip", str(environment)).replace("/wheel", str(wheel)) for word in words
            ]
            python = sys.executable if program == "python" else str(environment / "bin/python")
            done = _run(python, *(["-m", program] if program == "pip" else []), *rest, cwd=source)
            if done.returncode and OFFLINE.search(done.stdout + done.stderr):
                pytest.skip("offline: the package index cannot be reached")
            assert done.returncode == 0, done.stderr
    return environment / "bin"


def test_offline_libraries_are_not_installed(installed: Path, tmp_path: Path) -> None:
    """None of the offline libraries can be imported where the service runs."""
    code = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    done = _run(installed / "python", "-c", code, *LIBRARIES_OF_TRAINING, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


def test_installed_versions_agree(installed: Path, tmp_path: Path) -> None:
    """The pinned base layer satisfies every requirement, so `pip check` finds nothing."""
    done = _run(installed / "python", "-m", "pip", "check", cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_serve_explains_itself(installed: Path, tmp_path: Path) -> None:
    """The console script is installed, and `userip serve --help` needs nothing but the base install."""
    done = _run(installed / "userip", "serve", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--release" in done.stdout
    assert "--bank" in done.stdout


def test_serve_refuses_a_missing_release_in_one_line(installed: Path, tmp_path: Path) -> None:
    """Started on nothing, the service exits with 2 and one line that names what is missing."""
    command = (
        installed / "userip",
        "serve",
        "--release",
        tmp_path / "none",
        "--bank",
        f"lmdb://{tmp_path}/bank",
    )
    done = _run(*command, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert str(tmp_path / "none") in done.stderr
    assert "Traceback" not in done.stderr


def test_image_commands_serve_and_report_health(installed: Path, tmp_path: Path) -> None:
    """The entry point, set by environment alone, answers; the health check fails before and passes then."""
    stage = read_dockerfile(ROOT / "Dockerfile")["service"]
    entry, check = stage.last("ENTRYPOINT").exec_form, stage.last("HEALTHCHECK").exec_form
    assert entry is not None
    assert check is not None
    release = write_release(tmp_path / "release")
    bank = open_bank(f"lmdb://{tmp_path}/bank")
    bank.publish(release.name, ReleaseRecords(["ann"], np.array([2], np.uint32), np.array([[1, 0, 1]], np.uint16)))
    bank.activate(release.name)
    bank.close()
    settings = stage.environment() | {
        "PATH": f"{installed}:/usr/bin:/bin",
        "USERIP_HOST": "127.0.0.1",
        "USERIP_PORT": str(free_port()),
        "USERIP_RELEASE_DIR": str(release.path),
        "USERIP_BANK_URL": f"lmdb://{tmp_path}/bank",
    }
    healthcheck = [str(installed / check[0]), *check[1:]]
    assert _run(*healthcheck, cwd=tmp_path, **settings).returncode != 0
    log = tmp_path / "log"
    with log.open("wb") as stream:
        command = [str(installed / entry[0]), *entry[1:]]
        service = subprocess.Popen(command, cwd=tmp_path, env=_environment(**settings), stderr=stream)
    try:
        deadline = time.monotonic() + 30
        while _run(*healthcheck, cwd=tmp_path, **settings).returncode:
            assert service.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
        url = f"http://127.0.0.1:{settings['USERIP_PORT']}"
        answer = httpx2.post(f"{url}/score", json={"user_id": "ann", "item_ids": ["plain", "i5"]}).json()
        assert answer["profile"] == "known"
        assert answer["scores"] == pytest.approx(release.expected(["plain", "i5"], 2, (1, 0, 1)), abs=1e-6)
        assert httpx2.get(f"{url}/readyz").status_code == 200
    finally:
        service.terminate()
        assert service.wait(timeout=20) == 0


def test_every_serving_module_imports(installed: Path, tmp_path: Path) -> None:
    """Every module of the rooms that serve imports with the base install alone."""
    code = (
        "import importlib, pkgutil\n"
        "from userip import bank, release, scoring, service\n"
        "for room in (bank, release, scoring, service):\n"
        "    for module in pkgutil.walk_packages(room.__path__, room.__name__ + '.'):\n"
        "        importlib.import_module(module.name); print(module.name)\n"
    )
    done = _run(installed / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"userip.bank.record", "userip.service.settings"} <= set(done.stdout.split())


def test_training_commands_name_the_extra(installed: Path, tmp_path: Path) -> None:
    """An offline command says which extra to install instead of failing with an import error."""
    done = _run(installed / "userip", "prepare", "--help", cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"userip: `userip prepare` needs \w+: pip install 'userip\[train\]'\n", done.stderr)
