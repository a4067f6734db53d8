"""CurrentRelease loads nothing of training: seen from outside, in a fresh interpreter."""

import os
import subprocess
import sys
from pathlib import Path

OFFLINE = (
    "torch",
    "transformers",
    "polars",
    "pandas",
    "ray",
    "sklearn",
    "pyarrow",
    "onnx",
    "scipy",
    "matplotlib",
)
CODE = """
import importlib, json, pkgutil, sys
import bank, service, userip
for room in (bank, service):
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        importlib.import_module(module.name)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def test_importing_all_of_service_and_bank_loads_no_offline_library() -> None:
    """Every module of both rooms and the console script: no torch, transformers, polars, ray and so on."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.strip().strip("[]").replace('"', "").split(", "))
    assert {"service", "bank", "onnxruntime"} <= loaded
    assert loaded & {*OFFLINE, "models", "training", "loadtests"} == set()


def test_onnx_runtime_sends_no_telemetry(tmp_path: Path) -> None:
    """Loading the scorer starts no telemetry session, of which the bare library leaves a file behind."""

    def files_left(module: str) -> list[str]:
        folder = tmp_path / module
        folder.mkdir()
        kept = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
        env = kept | {"TMPDIR": str(folder), "HOME": str(folder)}
        subprocess.run([sys.executable, "-c", f"import {module}"], env=env, check=True)
        return [path.name for path in folder.rglob("*")]

    assert files_left("userip.scoring.scorer") == []
