"""Arrays of a release, mapped into memory from a private copy: what is used is what was hashed, and stays so.

A mapped file that is written to in place changes under whoever maps it, and one that is cut short kills them (SIGBUS).
So nothing is mapped from a release directory, which others can write to. A file is copied, and hashed on the way.

Without a shared directory the copy has no name any more once it is mapped: it goes when the map does. In one that the
workers of a service share, a copy is named by its hash, so all of them map the same one: it lies on the disk and in
memory once. Whoever maps it holds a lock on it, as long as the map lives. `sweep` removes those that nobody holds.
"""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from userip.disk import room_for
from userip.release.errors import ReleaseError
from userip.release.manifest import MANIFEST

_COPY: Final = ".copy"
_LOCK: Final = "copies.lock"


def map_array(file: Path, sha256: str, shared: Path | None = None) -> NDArray[Any]:
    """A .npy file, read-only. Raises ReleaseError for another hash or no array, DiskFullError for no room for a copy.

    shared  directory of the service for copies; None for one in TMPDIR that nobody else has
    """
    with nullcontext(shared) if shared else tempfile.TemporaryDirectory(prefix="userip-") as directory:
        place = Path(directory)
        with _locked(place), _copy_of(file, sha256, place).open("rb") as copy:
            fcntl.flock(copy, fcntl.LOCK_SH)  # kept by the map, which duplicates the descriptor
            try:
                return _mapped(copy)
            except ValueError as error:
                problem = f"not a .npy file that can be mapped ({error})"
                raise ReleaseError(f"{file}: {problem}; export the release again") from None


def sweep(shared: Path) -> None:
    """Remove the copies that nobody maps any more."""
    with _locked(shared):
        for path in shared.glob(f"*{_COPY}*"):
            with path.open("rb") as copy:
                try:
                    fcntl.flock(copy, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                path.unlink()


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """One at a time: two that copy the same file would come to map two copies."""
    place.mkdir(parents=True, exist_ok=True)
    with room_for(place), (place / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _copy_of(file: Path, sha256: str, place: Path) -> Path:
    copy = place / (sha256 + _COPY)
    partial, digest = copy.with_name(copy.name + ".partial"), hashlib.sha256()
    # One that is there is not written again, but a file that was altered since is refused all the same.
    with file.open("rb") as source, Path(os.devnull if copy.exists() else partial).open("wb") as target:
        while piece := source.read(1 << 20):
            digest.update(piece)
            target.write(piece)
    if digest.hexdigest() != sha256:
        partial.unlink(missing_ok=True)
        raise ReleaseError(f"{file}: sha256 differs from {MANIFEST}; the file was altered or cut short")
    return copy if copy.exists() else partial.replace(copy)


def _mapped(copy: BinaryIO) -> NDArray[Any]:
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(copy)
    if version not in read:
        raise ValueError(f"version {version}")
    shape, fortran, dtype = read[version](copy)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return np.memmap(copy, dtype, "r", copy.tell(), shape, "F" if fortran else "C").view(np.ndarray)
