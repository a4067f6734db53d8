"""The bill of materials and the audit: what they say of the pinned requirements, and that no network fails a check."""

import http.server
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

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `make sbom` writes; cyclonedx-py comes from an index the first time."""
    target = tmp_path_factory.mktemp("bill") / "new/sbom.json"
    done = subprocess.run([ROOT / "tools/sbom.sh", target], capture_output=True, text=True, check=False)
    if done.returncode and re.search(r"[Ff]ailed to fetch|error sending request|dns error", done.stderr):
        pytest.skip("offline: cyclonedx-py cannot be fetched")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(target.read_text())
    return found


def _pins() -> dict[tuple[str, str], set[str]]:
    """(name, version) -> SHA-256 digests, over all requirement files."""
    pins: dict[tuple[str, str], set[str]] = {}
    for file in (ROOT / "requirements").glob("*.txt"):
        for block in re.split(r"^(?=\S)", file.read_text(), flags=re.MULTILINE):
            if pin := re.match(r"([a-z0-9-]+)==(\S+)", block):
                pins.setdefault((pin[1], pin[2]), set()).update(re.findall(r"sha256:(\w+)", block))
    return pins


@pytest.mark.slow
def test_bill_lists_every_pin_once_with_the_hashes_of_its_files(bill: dict[str, Any]) -> None:
    """Its components are the pins of all requirement files, each with the digests that are pinned; torch has none."""
    found = {}
    for part in bill["components"]:
        hashes = [each for place in part["externalReferences"] for each in place.get("hashes", ())]
        assert {each["alg"] for each in hashes} <= {"SHA-256"}
        found[part["name"], part["version"]] = {each["content"] for each in hashes}
    assert found == _pins()
    assert len(bill["components"]) == len(found)
    assert [name for (name, _), hashes in found.items() if not hashes] == ["torch"]
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "userip"


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
        (report(FLAWED) + "; exit 1", 1, "thing 1.0: CVE-1, fixed in 1.1"),
        (report(FLAWED, UNKNOWN) + "; exit 1", 1, "thing 1.0: CVE-1, fixed in 1.1"),
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
