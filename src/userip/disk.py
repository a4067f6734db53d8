"""A full disk, said in one line, whichever library met it."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from userip.errors import UserIPError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the last: more than one file may have
# What has no errno: errors of libraries written in Rust (polars, safetensors, tokenizers), torch's and numpy's writers.
_SAID: Final = re.compile(
    rf"No space left|quota exceeded|File too large|os error ({'|'.join(map(str, _FULL))})\b"
    r"|PytorchStreamWriter failed writing|\d+ requested and \d+ written",
    re.IGNORECASE,
)


class DiskFullError(UserIPError):
    """There is no room for what was to be written. What is whole is kept, and the same command goes on from there."""


def disk_full(path: object) -> DiskFullError:
    """The error that names `path` as what could not be written."""
    return DiskFullError(f"No space left for {path}: free some and run the same command again")


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Raise DiskFullError, naming `path`, where the block finds no room on the disk."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, UserIPError) and is_full(error):
            raise disk_full(path) from error
        raise


def is_full(error: BaseException) -> bool:
    """Whether `error` is of a disk that is full, or of a quota that is used up."""
    return (isinstance(error, OSError) and error.errno in _FULL) or _SAID.search(str(error)) is not None
