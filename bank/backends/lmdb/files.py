"""What LMDB takes for granted of its two files, seen to before they are mapped into memory.

A page that a mapped file does not have kills who touches it (SIGBUS): of a data file that was cut short, and of a lock
file whose blocks were not there yet when the disk got full.
"""

import errno
import os
import struct
from contextlib import suppress
from typing import Final

# The head of a meta page, of which a file begins with two: magic number, bytes of a page, last page in use.
_META: Final = struct.Struct("=16xI20xI92xQ")
_MAGIC: Final = 0xBEEFC0DE
LEAST_BYTES: Final = 2 * 4096
_LARGEST_PAGE: Final = 1 << 16


def missing_bytes(data: str, size: int) -> int:
    """How many bytes a data file of `size` lacks of what its meta pages claim; 0 for what is no LMDB file at all."""
    with open(data, "rb") as file:
        head = file.read(_LARGEST_PAGE + _META.size)
    if len(head) < _META.size:
        return LEAST_BYTES - size
    page: int
    magic, page, last = _META.unpack_from(head)
    if magic != _MAGIC:
        return 0  # LMDB refuses it in words
    if len(head) < page + _META.size:
        return 2 * page - size
    pages: int = max(last, _META.unpack_from(head, page)[2]) + 1
    return max(0, pages * page - size)


def allocate_lock_file(lock: str, readers: int) -> None:
    """Give the lock file the blocks that LMDB writes to, 64 bytes a reader. Raises OSError on a full disk."""
    with suppress(PermissionError):  # LMDB says it better, or needs none
        try:
            file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno == errno.EROFS:
                return
            raise
        try:
            os.posix_fallocate(file, 0, 64 * readers)
        finally:
            os.close(file)
