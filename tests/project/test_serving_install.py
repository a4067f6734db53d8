"""The service image's own install and start commands, in a scratch environment: it serves without torch."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.dockerfile import copy_context, read_dockerfile
from tests.project.serving import environment, serve_and_score
from userip.loadtests.servers.redis_server import free_port

ROOT = Path(__file__).parents[2]
OFFLINE = re.compile(r"Failed to establish|Temporary failure in name|Network is unreachable|Max retries exceeded")
LIBRARIES_OF_TRAINING = ("torch", "transformers", "polars", "pandas", "ray", "sklearn", "pyarrow", "onnx")

pytestmark = pytest.mark.slow


def _run(*arguments: str | Path, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run to the end, away from the repository."""
    return subprocess.run(arguments, cwd=cwd, env=environment(**settings), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment built by the COPY and RUN instructions of the Dockerfile's `build` stage."""
    source = tmp_path_factory.mktemp("src")
    place, wheel = tmp_path_factory.mktemp("environment") / "userip", tmp_path_factory.mktemp("wheel")
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
            program, *rest = [word.replace("/opt/userip", str(place)).replace("/wheel", str(wheel)) for word in words]
            python = sys.executable if program == "python" else str(place / "bin/python")
            done = _run(python, *(["-m", program] if program == "pip" else []), *rest, cwd=source)
            if done.returncode and OFFLINE.search(done.stdout + done.stderr):
                pytest.skip("offline: the package index cannot be reached")
            assert done.returncode == 0, done.stderr
    return place / "bin"


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
    settings = stage.environment() | {"PATH": f"{installed}:/usr/bin:/bin", "USERIP_HOST": "127.0.0.1"}
    settings["USERIP_PORT"] = str(free_port())
    healthcheck = [str(installed / check[0]), *check[1:]]

    def healthy() -> bool:
        return _run(*healthcheck, cwd=tmp_path, **settings).returncode == 0

    assert not healthy()
    serve_and_score([str(installed / entry[0]), *entry[1:]], environment(**settings), tmp_path, healthy)


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
