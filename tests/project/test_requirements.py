"""The pinned requirement files: exact versions that agree, from anywhere, matching pyproject.toml."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("base", "train", "load", "dev", "baselines", "tracing")


def _pins(layer: str) -> dict[str, str]:
    pins = {}
    for line in (ROOT / f"requirements/{layer}.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.lstrip().startswith("#"):
            pin = re.fullmatch(r"([a-z0-9-]+)==([\w.]+)", line)
            assert pin is not None, f"requirements/{layer}.txt: {line!r} is not name==version"
            pins[pin.group(1)] = pin.group(2)
    return pins


def _declared(*layers: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = project["optional-dependencies"] | {"base": project["dependencies"]}
    names = (re.split(r"[<>=!~\[; ]", line)[0] for layer in layers for line in groups[layer])
    return {name.lower().replace("_", "-") for name in names}


@pytest.mark.parametrize("layer", LAYERS)
def test_pins_name_versions_only(layer: str) -> None:
    """A file holds `name==version` lines and comments: no index, no links, no path of a machine."""
    assert _pins(layer)
    text = (ROOT / f"requirements/{layer}.txt").read_text(encoding="utf-8")
    assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host|file:/|https?:/|\s/\w", text)


def test_layers_agree() -> None:
    """A library has one version, whichever layer asks for it, so that the layers install together."""
    versions: dict[str, set[str]] = {}
    for layer in LAYERS:
        for name, version in _pins(layer).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_declared_requirement_is_pinned(layer: str) -> None:
    """What pyproject.toml declares for a layer is in its file; after a change there, `make lock`."""
    assert _declared(layer) <= set(_pins(layer))


def test_torch_is_pinned_without_a_build() -> None:
    """The build of torch (CPU, CUDA) is the machine's choice; the version is ours."""
    assert _pins("train")["torch"] == "2.13.0"


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
    return names - set(sys.stdlib_module_names) - {path.stem for path in ROOT.iterdir()}


@pytest.mark.parametrize(
    ("room", "layers"),
    [
        ("userip.py", ("base",)),
        ("bank", ("base",)),
        ("service", ("base", "tracing")),
        ("models", ("base", "train")),
        ("training", ("base", "train", "baselines")),
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
