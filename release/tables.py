"""Reading the files of a release as they are used: hashed once more, tables mapped into memory."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from userip.release.errors import ReleaseError
from userip.release.manifest import MANIFEST, VECTORS, Manifest

_LINES = 1 << 16  # of vectors that are looked at at a time


def read_file(directory: Path, name: str, manifest: Manifest) -> bytes:
    """Read the very bytes that are used and hash these: the file may change between two reads. Raises ReleaseError."""
    content = (directory / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest.files[name]:
        raise ReleaseError(f"{directory / name}: sha256 differs from {MANIFEST}; the file was altered")
    return content


def map_array(file: Path) -> NDArray[Any]:
    """A .npy file, mapped into memory. Raises ReleaseError."""
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise ReleaseError(f"{file}: not a .npy file that can be mapped ({error}); export the release again") from None
    return array


def map_tables(directory: Path, manifest: Manifest) -> dict[str, NDArray[np.float32]]:
    """The tables, mapped into memory: the workers of a machine share them, and pages never asked for are never read.

    Their hashes were taken a moment ago through the same files. Releases are replaced by renaming, never in place.
    Raises ReleaseError for a file that is no float32 table.
    """
    tables = {}
    for name, file in manifest.tables.items():
        path = directory / file
        if file not in manifest.files:
            raise ReleaseError(f"{directory / MANIFEST}: tables: no hash for {file}")
        table = map_array(path)
        if table.dtype != np.float32 or table.ndim != 2 or not table.flags.c_contiguous:
            raise ReleaseError(f"{path}: {table.dtype} {table.shape}, expected float32 [rows, width] in C order")
        tables[name] = table.view(np.ndarray)
    return tables


def map_vectors(directory: Path, manifest: Manifest) -> NDArray[np.float32] | None:
    """The users' vectors, float32 [users, vector], mapped into memory; None for a release without any.

    Raises ReleaseError for a file that is none or holds what is not a finite number.
    """
    if not manifest.vector:
        return None
    file = directory / VECTORS
    if VECTORS not in manifest.files:
        raise ReleaseError(f"{file}: not there, and the manifest wants a vector per user; export the release again")
    vectors = map_array(file)
    wanted = (manifest.users, manifest.vector)
    if vectors.dtype != np.float32 or vectors.shape != wanted:
        raise ReleaseError(f"{file}: {vectors.dtype} {vectors.shape}, expected float32 {wanted}; export it again")
    for start in range(0, len(vectors), _LINES):
        if not (finite := np.isfinite(vectors[start : start + _LINES]).all(axis=1)).all():
            line = start + int(finite.argmin())
            raise ReleaseError(f"{file}: line {line}: a value is not a finite number; export the release again")
    return vectors
