"""The pinned requirement files: exact versions and hashes that agree, from anywhere, matching pyproject.toml."""

import ast
import re
import sys
import tomllib
from importlib.metadata import distributions, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LAYERS = ("base", "train", "load", "dev", "baselines", "tracing")


FILES = (*LAYERS, "build", "torch")
HASHED = (*LAYERS, "build")


def _hashes(file: str) -> dict[tuple[str, str], list[str]]:
    """(name, version) -> SHA-256 digests of one file."""
    hashes = {}
    text = (ROOT / f"requirements/{file}.txt").read_text(encoding="utf-8")
    for line in text.replace(" \\\n", " ").splitlines():
        if line and not line.lstrip().startswith("#"):
            pin = re.fullmatch(r"([a-z0-9-]+)==([\w.]+)(?: ; [^#]+?)?((?: +--hash=sha256:[0-9a-f]{64})*)", line)
            assert pin is not None, f"requirements/{file}.txt: {line!r} is not name==version with hashes"
            hashes[pin.group(1), pin.group(2)] = re.findall("[0-9a-f]{64}", pin.group(3))
    return hashes


def _pins(file: str) -> dict[str, str]:
    return dict(_hashes(file).keys())


def _declared(*layers: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = project["optional-dependencies"] | {"base": project["dependencies"]}
    names = (re.split(r"[<>=!~\[; ]", line)[0] for layer in layers for line in groups[layer])
    return {name.lower().replace("_", "-") for name in names}


@pytest.mark.parametrize("file", FILES)
def test_pins_name_versions_only(file: str) -> None:
    """A file holds `name==version` lines, hashes and comments: no index, no links, no path of a machine."""
    assert _pins(file)
    text = (ROOT / f"requirements/{file}.txt").read_text(encoding="utf-8")
    assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host|file:/|https?:/|\s/\w", text)


def test_every_requirement_file_is_known() -> None:
    """No other file lies beside those that these tests read."""
    assert {path.stem for path in (ROOT / "requirements").iterdir()} == set(FILES)


def test_files_agree() -> None:
    """A library has one version and one set of hashes, whichever file names it, so that the layers install together."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for file in FILES:
        for (name, version), hashes in _hashes(file).items():
            found.setdefault(name, set()).add((version, *hashes))
    assert {name: different for name, different in found.items() if len(different) > 1} == {}


@pytest.mark.parametrize("file", HASHED)
def test_every_pin_but_torch_has_hashes(file: str) -> None:
    """Each pinned line has at least one SHA-256, none of them twice, so pip installs no other file for it."""
    for pin, hashes in _hashes(file).items():
        assert hashes, pin
        assert len(hashes) == len(set(hashes)), pin


def test_hashes_are_those_of_every_platform() -> None:
    """A compiled library is pinned for other machines than the one that made the lock: dozens of wheels each."""
    counts = {name: len(hashes) for (name, _), hashes in _hashes("base").items()}
    assert min(counts[name] for name in ("numpy", "orjson", "msgspec", "uvloop", "onnxruntime")) > 20


def test_torch_is_alone_and_without_a_build() -> None:
    """torch's version is ours; the build (CPU, CUDA), and so the file, is the machine's choice: no hash, own file."""
    assert _hashes("torch") == {("torch", "2.13.0"): []}
    assert [file for file in HASHED if "torch" in _pins(file)] == []


def test_what_torch_needs_is_hashed() -> None:
    """Everything that torch declares, CUDA's libraries aside, is in a hashed file: it is there when torch comes."""
    needed = {Requirement(text) for text in requires("torch") or ()}
    names = {
        each.name.lower().replace("_", "-")
        for each in needed
        if each.marker is None
        or any(each.marker.evaluate({"extra": "", "python_version": v}) for v in ("3.11", "3.14"))
    }
    cuda = re.compile(r"(nvidia|cuda)-.*|triton")
    assert {name for name in names if not cuda.fullmatch(name)} <= set(_pins("train")) | set(_pins("build"))
    assert "sympy" in names


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("python", ["3.11.0", "3.11.9", "3.12.0", "3.13.0", "3.14.0"])
def test_pins_are_complete_for_every_python(python: str, system: str) -> None:
    """What a pinned library declares for another Python or system is pinned too: setup looks for nothing else."""
    place = {
        "extra": "",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": system,
        "platform_system": system.capitalize(),
    }
    pinned = {name for file in FILES for name in _pins(file)}
    lacking = set()
    for distribution in distributions():
        name = canonicalize_name(distribution.name)
        for needed in map(Requirement, distribution.requires or ()):
            applies = needed.marker is None or needed.marker.evaluate(place)
            if name in pinned - {"torch"} and applies and canonicalize_name(needed.name) not in pinned:
                lacking.add((name, str(needed)))
    assert lacking == set()


@pytest.mark.parametrize("layer", LAYERS)
def test_every_declared_requirement_is_pinned(layer: str) -> None:
    """What pyproject.toml declares for a layer is in its file, torch in its own; after a change there, `make lock`."""
    assert _declared(layer) - {"torch"} <= set(_pins(layer))


def test_torch_is_pinned_as_declared() -> None:
    """`make setup` runs again after a change of pyproject.toml; torch's version cannot change without one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"torch=={_pins('torch')['torch']}" in project["optional-dependencies"]["train"]


def test_build_pins_what_the_build_declares() -> None:
    """`requirements/build.txt` has the build's requirements, so that an image builds without fetching."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    assert {Requirement(text).name for text in build} == set(_pins("build"))


def _imported(room: str) -> set[str]:
    """The top-level modules that a room imports, late imports too."""
    files = [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).rglob("*.py"))
    names = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"userip", "tests"}


@pytest.mark.parametrize(
    ("room", "layers"),
    [
        ("src/userip/commands.py", ("base",)),
        ("bank", ("base",)),
        ("release", ("base",)),
        ("scoring", ("base",)),
        ("service", ("base", "tracing")),
        ("ops", ("base", "train")),
        ("reporting", ("base", "train")),
        ("src/userip/demo", ("base", "train")),
        ("models", ("base", "train")),
        ("training", ("base", "train", "baselines")),
        ("evaluation", ("base", "train", "baselines")),
        ("loadtests", ("base", "train", "load")),
        ("tests", ("base", "train", "load", "dev", "baselines", "tracing")),
    ],
)
def test_what_a_room_imports_is_declared(room: str, layers: tuple[str, ...]) -> None:
    """A room imports what the layers that it is installed with declare, not what happens to come along."""
    providers = packages_distributions()
    declared = _declared(*layers)
    missing = set()
    for name in _imported(room):
        known = {distribution.lower().replace("_", "-") for distribution in providers.get(name, [name])}
        if not known & declared:
            missing.add(name)
    assert missing == set()
