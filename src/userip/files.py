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
def beside(file: Path, *, shared: bool = False) -> Iterator[Path]:
    """Give a place beside `file` to write to; it takes the file's place when the block ends without an error.

    A killed program leaves `file` as it was, and at most `<file>.partial`, which the next attempt overwrites; with
    `shared`, where several processes may write the same file, each has a place of its own.
    Raises DiskFullError, as does `directory_beside`.
    """
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial" if shared else f"{file.name}.partial")
    with room_for(file):
        yield partial
    partial.replace(file)


@contextmanager
def directory_beside(directory: Path) -> Iterator[Path]:
    """The same for a directory: an empty one to fill, `<directory>.writing`, of which an error leaves nothing."""
    writing = directory.with_name(directory.name + ".writing")
    shutil.rmtree(writing, ignore_errors=True)
    try:
        with room_for(directory):
            writing.mkdir(parents=True)
            yield writing
        move_in(writing, directory)
    finally:
        shutil.rmtree(writing, ignore_errors=True)


def move_in(made: Path, directory: Path) -> None:
    """Give a directory that is whole the place of `directory`; an earlier one there goes when this one is in."""
    old = directory.with_name(directory.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    made.rename(directory)
    shutil.rmtree(old, ignore_errors=True)


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
    return json.dumps(finite(content), indent=indent, allow_nan=False)


def finite(content: Any) -> Any:  # noqa: ANN401
    """`content` with null, at any depth, in place of what is not a finite number, which JSON cannot hold."""
    if isinstance(content, Mapping):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if math.isfinite(content) else None
    return content
