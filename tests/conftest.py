"""What holds for every test: one thread a process, and the fixtures that several rooms share."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Before anything imports torch, numpy or ONNX Runtime: workers of pytest-xdist share the machine, and the bytes of a
# run depend on the number of threads. Processes that a test starts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")

pytest_plugins = [
    "tests.fixtures.banks",
    "tests.fixtures.redis_cluster",
    "tests.fixtures.runs",
    "tests.fixtures.serving",
    "tests.fixtures.small_disk",
]


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """What a command of this test set up to log to its standard error, which is gone afterwards, is taken down."""
    root = logging.getLogger()
    before, level = set(root.handlers), root.level
    yield
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in before:
            root.removeHandler(handler)
    root.setLevel(level)
