"""Serving loads nothing of training: seen from outside, in a fresh interpreter."""

import subprocess
import sys

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
