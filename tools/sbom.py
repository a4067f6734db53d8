"""Write the software bill of materials: what is pinned, as a CycloneDX 1.6 document (ECMA-424), without a network.

    python tools/sbom.py build/sbom.json

Every pin of requirements/ is a component; the files that name it, and those that pip-compile says ask for it, are
kept. Components of the base layer, which the service image holds, are `required`, the others `optional`. The hashes
are those of all files of the version; which of them a machine installs is its own choice, so they stand at the
distribution, not at the component. The same pins give the same bytes.
"""

import json
import os
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
LAYERS: Final = ("base", "train", "torch", "load", "tracing", "dev", "baselines", "build")
_PIN: Final = re.compile(r"([a-z0-9-]+)==(\S+)(?: \\)?")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_ASKED: Final = re.compile(r"#(?: {3}| via )\s*([A-Za-z0-9._-]+)")


def read_pins(file: Path) -> tuple[dict[str, str], dict[str, set[str]], dict[str, list[str]]]:
    """(name -> version, name -> names of what asks for it, name -> SHA-256 of its files) of one requirement file."""
    pins: dict[str, str] = {}
    asked_by: dict[str, set[str]] = {}
    hashes: dict[str, list[str]] = {}
    name = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if pin := _PIN.fullmatch(line):
            name = pin.group(1)
            pins[name] = pin.group(2)
            asked_by[name] = set()
            hashes[name] = []
        elif name and (digest := _HASH.search(line)):
            hashes[name].append(digest.group(1))
        elif name and (asked := _ASKED.search(line)) and line.startswith("    #"):
            asked_by[name].add(asked.group(1).lower().replace("_", "-"))
    return pins, asked_by, hashes


def distribution(name: str, hashes: list[str]) -> dict[str, Any]:
    """Where the files of a component come from, and what they have to be: a member of the component, or none."""
    if not hashes:
        return {}
    files = [{"alg": "SHA-256", "content": content} for content in sorted(hashes)]
    return {
        "externalReferences": [{"type": "distribution", "url": f"https://pypi.org/simple/{name}/", "hashes": files}]
    }


def document(requirements: Path, version: str) -> dict[str, Any]:
    """The whole bill for the files in `requirements`."""
    layers: dict[str, list[str]] = {}
    versions: dict[str, str] = {}
    digests: dict[str, list[str]] = {}
    depends: dict[str, set[str]] = {"userip": set()}
    for layer in LAYERS:
        pins, asked_by, hashes = read_pins(requirements / f"{layer}.txt")
        for name, pinned in pins.items():
            versions[name] = pinned
            digests[name] = hashes[name]
            layers.setdefault(name, []).append(layer)
            for who in asked_by[name]:
                depends.setdefault(who, set()).add(name)
    references = {name: f"pkg:pypi/{name}@{pinned}" for name, pinned in versions.items()}
    components = [
        {
            "type": "library",
            "bom-ref": references[name],
            "name": name,
            "version": versions[name],
            "purl": references[name],
            "scope": "required" if "base" in layers[name] else "optional",
            "properties": [{"name": "userip:layer", "value": layer} for layer in layers[name]],
            **distribution(name, digests[name]),
        }
        for name in sorted(versions)
    ]
    own = {"type": "application", "bom-ref": "userip", "name": "userip", "version": version}
    graph = [
        {"ref": references.get(name, name), "dependsOn": sorted(references[other] for other in depends.get(name, ()))}
        for name in ["userip", *sorted(versions)]
    ]
    content = json.dumps([components, graph])
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": own},
        "components": components,
        "dependencies": graph,
    }


def main(target: Path) -> None:
    """Write the bill to `target`, whole or not at all."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bill = document(ROOT / "requirements", project["version"])
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f"{target.name}.writing")
    beside.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, target)
    print(f"{target}: {len(bill['components'])} components")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
