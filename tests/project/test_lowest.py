"""The lowest declared versions of the base install: they exist together, and the service scores with them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx2
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.serving import environment, serve_and_score
from userip.loadtests.servers.redis_server import free_port

ROOT = Path(__file__).parents[2]
UV = str(Path(sys.executable).with_name("uv"))
OFFLINE = re.compile(r"error sending request|dns error|[Cc]onnection refused|tcp connect error")

pytestmark = pytest.mark.slow


def _uv(*arguments: str | Path, **settings: str) -> str:
    done = subprocess.run(
        [UV, *arguments], cwd=ROOT, env=environment(**settings), capture_output=True, text=True, check=False
    )
    if done.returncode and OFFLINE.search(done.stderr):
        pytest.skip("offline: the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A requirement file of the lowest versions that pyproject.toml allows, resolved for this Python."""
    file = tmp_path_factory.mktemp("lowest") / "lowest.txt"
    _uv("pip", "compile", "--resolution", "lowest-direct", "--no-header", "--no-annotate", "pyproject.toml", "-o", file)
    return file


def test_every_lower_bound_can_be_installed(pins: Path) -> None:
    """No bound is below what the others allow: the resolution takes exactly what is declared."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    resolved = dict(line.split("==") for line in pins.read_text(encoding="utf-8").splitlines())
    for requirement in map(Requirement, declared):
        (lowest,) = [each.version for each in requirement.specifier if each.operator == ">="]
        found = resolved[canonicalize_name(requirement.name)]
        assert found == lowest or found.startswith(f"{lowest}."), f"{requirement}: the lowest that fits is {found}"


def test_the_service_scores_with_the_lowest_versions(pins: Path, tmp_path: Path) -> None:
    """An environment of these versions alone serves a release from LMDB and gives a known user's scores."""
    place = tmp_path / "environment"
    _uv("venv", "--python", sys.executable, place)
    _uv("pip", "install", "--requirement", pins, VIRTUAL_ENV=str(place))
    settings = environment(USERIP_PORT=str(free_port()), PYTHONPATH=str(ROOT / "src"))

    def healthy() -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{settings['USERIP_PORT']}/healthz").status_code == 200
        except httpx2.TransportError:
            return False

    serve_and_score([str(place / "bin/python"), "-m", "userip", "serve"], settings, tmp_path, healthy)
