"""Writing a file, or a directory, whole or not at all."""

import fcntl
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from userip.disk import room_for


@contextmanager
def beside(file: Path) -> Iterator[Path]:
    """Give a place beside `file` to write to; it takes the file's place when the block ends without an error.

    A killed program leaves `file` as it was, and at most `<file>.partial`, which the next attempt overwrites.
    Raises DiskFullError, as does `directory_beside`.
    """
    partial = file.with_name(file.name + ".partial")
    with room_for(file):
        yield partial
    partial.replace(file)


@contextmanager
def directory_beside(directory: Path) -> Iterator[Path]:
    """The same for a directory, which must not exist or be empty: an empty one to fill, `<directory>.writing`."""
    writing = directory.with_name(directory.name + ".writing")
    shutil.rmtree(writing, ignore_errors=True)
    with room_for(directory):
        writing.mkdir(parents=True)
        yield writing
    os.replace(writing, directory)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep out others that lock `directory`; the system frees it however we end."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_text(file: Path, text: str) -> None:
    """Write `text` in UTF-8, whole or not at all."""
    with beside(file) as partial:
        partial.write_text(text, encoding="utf-8")


def json_text(content: Any, indent: int | None = 1) -> str:  # noqa: ANN401  (whatever JSON holds)
    """`content` as JSON that every reader knows: what is not a finite number is null."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def _finite(content: Any) -> Any:  # noqa: ANN401
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if math.isfinite(content) else None
    return content
