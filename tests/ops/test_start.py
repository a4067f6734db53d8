"""The commands on a bank start quickly: none loads a library that it has no use for."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.serving import publish
from tests.fixtures.tiny_release import write_release

HEAVY = {"torch", "onnxruntime", "onnx", "transformers", "polars", "pandas", "pyarrow", "sklearn", "scipy", "ray"}
UNUSED = {"redis", "fastapi", "uvicorn", "prometheus_client", "structlog"}
PROGRAM = """
import sys
from userip.commands import main
main(sys.argv[1:])
print(*{name.partition(".")[0] for name in sys.modules})
"""


@pytest.mark.parametrize(
    "command",
    [
        ("inspect",),
        ("activate", "a"),
        ("rollback",),
        ("prune",),
        ("publish", "--release", "RELEASE"),  # which the bank holds already
    ],
    ids=lambda command: command[0],
)
def test_a_command_imports_what_it_needs(command: tuple[str, ...], tmp_path: Path) -> None:
    """On an LMDB bank neither offline libraries, nor a model's runtime, nor the service, nor Redis."""
    tiny, url = write_release(tmp_path / "release"), f"lmdb://{tmp_path / 'bank'}"
    for release in ("a", tiny.name):
        publish(url, release)
    arguments = [str(tiny.path) if part == "RELEASE" else part for part in command]
    program = [sys.executable, "-c", PROGRAM, *arguments, "--bank", url]
    done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60)
    assert not (HEAVY | UNUSED) & set(done.stdout.splitlines()[-1].split())
