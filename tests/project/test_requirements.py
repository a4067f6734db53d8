"""The pinned requirement files: exact versions that agree, from anywhere, matching pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("base", "train", "load", "dev")


def _pins(layer: str) -> dict[str, str]:
    pins = {}
    for line in (ROOT / f"requirements/{layer}.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.lstrip().startswith("#"):
            pin = re.fullmatch(r"([a-z0-9-]+)==([\w.]+)", line)
            assert pin is not None, f"requirements/{layer}.txt: {line!r} is not name==version"
            pins[pin.group(1)] = pin.group(2)
    return pins


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["dependencies"] if layer == "base" else project["optional-dependencies"][layer]
    names = {re.split(r"[<>=!~\[; ]", line)[0].lower().replace("_", "-") for line in declared}
    assert names <= set(_pins(layer))


def test_torch_is_pinned_without_a_build() -> None:
    """The build of torch (CPU, CUDA) is the machine's choice; the version is ours."""
    assert _pins("train")["torch"] == "2.13.0"
