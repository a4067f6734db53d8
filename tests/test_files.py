"""Files are written whole or not at all."""

import fcntl
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from userip.files import beside, json_text, locked, write_text


def test_a_locked_directory_keeps_others_out(tmp_path: Path) -> None:
    """Until the block ends, however it ends."""

    def fail() -> None:
        with locked(tmp_path):
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011  (our own)
        fail()
    with locked(tmp_path), open_directory(tmp_path) as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open_directory(tmp_path) as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def open_directory(path: Path) -> Iterator[int]:
    """A descriptor of its own."""
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_an_error_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """What was half written stands beside, and the next attempt replaces it."""
    file = tmp_path / "a.json"
    write_text(file, "früher")

    def fail() -> None:
        with beside(file) as partial:
            partial.write_text("half of")
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        fail()
    assert file.read_text(encoding="utf-8") == "früher"
    write_text(file, "later")
    assert file.read_text(encoding="utf-8") == "later"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_is_not_a_finite_number_is_null_in_json() -> None:
    """Wherever it stands, of Python or NumPy; keys become strings, and no reader meets a NaN."""
    content = {1: [math.nan, (math.inf, 0.5)], "b": {"c": np.float32("nan"), "d": np.float32(0.25)}, "e": None}
    text = json_text(content)
    assert json.loads(text) == {"1": [None, [None, 0.5]], "b": {"c": None, "d": 0.25}, "e": None}
    assert "\n" not in json_text(content, indent=None)
