"""The package as others install it: a wheel with `userip` alone in it, which leaves a project's own names alone."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.project.dockerfile import copy_context

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "userip"
GENERIC = ("service", "models", "bank")  # names that a project may well have itself

pytestmark = pytest.mark.slow


def _build(source: Path, kind: str, out: Path) -> Path:
    """Build a wheel or sdist of `source`, as pip does without isolation; the file."""
    code = "import setuptools.build_meta as build, sys; getattr(build, sys.argv[1])(sys.argv[2])"
    command = [sys.executable, "-c", code, f"build_{kind}", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of what the package is built of."""
    folder = tmp_path_factory.mktemp("source")
    copy_context(ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked, as an installation has it."""
    built = _build(source, "wheel", tmp_path_factory.mktemp("wheel"))
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder)
    return folder


def _files(package: Path) -> set[str]:
    """The files of an installed or linked `userip`, by path, without what Python caches."""
    found = set()
    for folder, _, names in os.walk(package, followlinks=True):
        if "__pycache__" not in folder:
            found |= {str((Path(folder) / name).relative_to(package)) for name in names}
    return found


def test_wheel_holds_userip_and_nothing_else(wheel: Path) -> None:
    """One package at the top, and its metadata; in it every file of every room, py.typed and the style sheets."""
    assert sorted(path.name.split("-")[0] for path in wheel.iterdir()) == ["userip", "userip"]
    files = _files(wheel / "userip")
    assert files == _files(PACKAGE)
    rooms = {link.name for link in PACKAGE.iterdir() if link.is_symlink()}
    assert rooms
    assert {f"{room}/__init__.py" for room in rooms} <= files
    assert "py.typed" in files


def test_sdist_builds_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    """The links to the rooms are followed: whoever has the source archive alone builds the very same files."""
    (tmp_path / "sdist").mkdir()
    with tarfile.open(_build(source, "sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert not (unpacked / "tests").exists()
    (tmp_path / "wheel").mkdir()
    with zipfile.ZipFile(_build(unpacked, "wheel", tmp_path / "wheel")) as built:
        names = {name.removeprefix("userip/") for name in built.namelist() if name.startswith("userip/")}
    assert names == _files(wheel / "userip")


def test_a_project_keeps_its_own_service_models_and_bank(wheel: Path, tmp_path: Path) -> None:
    """Beside packages of the same names as our rooms, theirs are theirs, and ours work under `userip`."""
    for name in GENERIC:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWNER = 'the project'\n")
    code = (
        "import userip, userip.service.app, userip.bank, userip.models, service, models, bank\n"
        "print(userip.__file__, *(room.OWNER for room in (service, models, bank)), sep='\\n')"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(wheel)))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(wheel / "userip/__init__.py"), *["the project"] * 3]
