"""The bill of materials and the audit: what they say of the pinned requirements, and that no network fails a check."""

import http.server
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def bill(target: Path) -> dict[str, Any]:
    subprocess.run([sys.executable, ROOT / "tools/sbom.py", target], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(target.read_text())
    return found


def test_bill_lists_every_pin_once_and_the_same_each_time(tmp_path: Path) -> None:
    """Its components are the `name==version` lines of all requirement files; base ones are required."""
    found = bill(tmp_path / "new/sbom.json")
    pins, base = set(), set()
    for file in (ROOT / "requirements").glob("*.txt"):
        lines = set(re.findall(r"^([a-z0-9-]+)==(\S+)(?: \\)?$", file.read_text(), flags=re.MULTILINE))
        pins |= lines
        base |= lines if file.stem == "base" else set()
    parts = found["components"]
    assert {(part["name"], part["version"]) for part in parts} == pins
    assert len(parts) == len({part["purl"] for part in parts}) == len(pins)
    assert {(part["name"], part["version"]) for part in parts if part["scope"] == "required"} == base
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", found["serialNumber"])
    again = bill(tmp_path / "again.json")
    assert again == found


def test_bill_has_the_hashes_of_the_files(tmp_path: Path) -> None:
    """Each component's distribution lists the SHA-256 digests that the requirement files pin; torch's has none."""
    pinned: dict[str, set[str]] = {}
    for file in (ROOT / "requirements").glob("*.txt"):
        for block in re.split(r"^(?=\S)", file.read_text(), flags=re.MULTILINE):
            if block[:1].isalnum():
                pinned.setdefault(block.split("==")[0], set()).update(re.findall(r"sha256:(\w+)", block))
    found = {}
    for part in bill(tmp_path / "sbom.json")["components"]:
        places = part.get("externalReferences", [])
        assert {place["type"] for place in places} <= {"distribution"}
        hashes = [each for place in places for each in place["hashes"]]
        assert {each["alg"] for each in hashes} <= {"SHA-256"}
        found[part["name"]] = {each["content"] for each in hashes}
        assert len(hashes) == len(found[part["name"]])
    assert found == pinned
    assert [name for name, hashes in found.items() if not hashes] == ["torch"]


def test_bill_says_who_needs_whom(tmp_path: Path) -> None:
    """The graph of the base layer against what the installed distributions declare themselves."""
    found = bill(tmp_path / "sbom.json")
    names = {part["bom-ref"]: part["name"] for part in found["components"]}
    graph = {names.get(node["ref"]): {names[ref] for ref in node["dependsOn"]} for node in found["dependencies"]}
    assert set(graph) == {None, *names.values()}
    for name in ("fastapi", "starlette", "pydantic", "rich", "uvicorn"):
        declared = (Requirement(text) for text in importlib.metadata.requires(name) or ())
        needed = {
            r.name.lower().replace("_", "-") for r in declared if r.marker is None or r.marker.evaluate({"extra": ""})
        }
        assert needed <= graph[name], name
        assert needed or name == "none"


@pytest.fixture
def registry() -> Iterator[str]:
    """A server that answers, in the place of a registry."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def audit(place: Path, url: str, pip_audit: str) -> tuple[int, str]:
    """Run tools/audit.sh in a copy, with a script in the place of pip-audit; its code and what it says."""
    (place / "tools").mkdir()
    shutil.copy(ROOT / "tools/audit.sh", place / "tools/audit.sh")
    (place / "requirements").mkdir()
    (place / "requirements/base.txt").write_text(f"thing==1.0 \\\n    --hash=sha256:{'0' * 64}\n    # via other\n")
    (place / "requirements/torch.txt").write_text("# alone\ntorch==2.0\n")
    program = place / "build/audit/bin/pip-audit"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nfor pins; do :; done\nwhile [ "$1" != --output ]; do shift; done\n{pip_audit}\n')
    program.chmod(0o755)
    env = os.environ | {"AUDIT_URL": url, "PYTHON": sys.executable, "AUDIT_SECONDS": "2", "no_proxy": "*"}
    done = subprocess.run([place / "tools/audit.sh"], env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return done.returncode, done.stdout


UNKNOWN = {"name": "other", "skip_reason": "not found"}
SOUND = {"name": "thing", "version": "1.0", "vulns": []}
FLAWED = {"name": "thing", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}


def report(*pins: dict[str, Any]) -> str:
    """The command by which a pip-audit writes its report about these pins."""
    return f"echo '{json.dumps({'dependencies': pins})}' > \"$2\""


@pytest.mark.parametrize(
    ("pip_audit", "code", "words"),
    [
        (report(SOUND), 0, "no known vulnerability in the pinned requirements"),
        (report(FLAWED) + "; exit 1", 1, "thing 1.0: CVE-1, mended in 1.1"),
        (report(FLAWED, UNKNOWN) + "; exit 1", 1, "thing 1.0: CVE-1, mended in 1.1"),
        (report(SOUND, UNKNOWN), 0, "no known vulnerability; of other the registry has no record"),
        (report(UNKNOWN), 0, "skipped, the registry has no record of any pinned requirement"),
        ("exit 1", 0, "skipped, the registry did not answer"),
        ("sleep 9", 0, "skipped, the registry did not answer"),
    ],
)
def test_findings_fail_the_audit_and_a_silent_registry_does_not(
    tmp_path: Path, registry: str, pip_audit: str, code: int, words: str
) -> None:
    """One line in each case; only a known flaw is a failure."""
    found, said = audit(tmp_path, registry, pip_audit)
    assert found == code
    assert words in said


def test_every_pin_is_looked_up_without_its_hashes(tmp_path: Path, registry: str) -> None:
    """pip-audit refuses a mixture of hashed and unhashed pins: it is given names and versions, torch's as well."""
    found, _ = audit(tmp_path, registry, f"cp \"$pins\" '{tmp_path}/asked'; {report(SOUND)}")
    assert found == 0
    assert (tmp_path / "asked").read_text() == "thing==1.0\ntorch==2.0\n"


def test_audit_is_skipped_without_a_registry(tmp_path: Path) -> None:
    """A machine without a network passes its checks."""
    assert audit(tmp_path, "http://127.0.0.1:1/", "exit 1") == (0, "audit: skipped, no registry answers\n")
