"""Reading the files of a release as they are used: the very bytes are hashed, arrays mapped into memory."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from userip.release.errors import ReleaseError
from userip.release.manifest import MANIFEST, VECTORS, Manifest
from userip.release.private_copy import map_array

_LINES = 1 << 16  # of vectors that are looked at at a time


def read_file(directory: Path, name: str, manifest: Manifest) -> bytes:
    """Read the very bytes that are used and hash these: the file may change between two reads. Raises ReleaseError."""
    content = (directory / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest.files[name]:
        raise ReleaseError(f"{directory / name}: sha256 differs from {MANIFEST}; the file was altered or cut short")
    return content


def map_tables(directory: Path, manifest: Manifest, shared: Path | None = None) -> dict[str, NDArray[np.float32]]:
    """The tables, mapped into memory from copies; the workers of a service share those in `shared`.

    Raises ReleaseError for a file that is altered or no float32 table, DiskFullError.
    """
    tables = {}
    for name, file in manifest.tables.items():
        path = directory / file
        if file not in manifest.files:
            raise ReleaseError(f"{directory / MANIFEST}: tables: no hash for {file}")
        table = map_array(path, manifest.files[file], shared)
        if table.dtype != np.float32 or table.ndim != 2 or not table.flags.c_contiguous:
            raise ReleaseError(f"{path}: {table.dtype} {table.shape}, expected float32 [rows, width] in C order")
        tables[name] = table
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
    vectors = map_array(file, manifest.files[VECTORS])
    wanted = (manifest.users, manifest.vector)
    if vectors.dtype != np.float32 or vectors.shape != wanted:
        raise ReleaseError(f"{file}: {vectors.dtype} {vectors.shape}, expected float32 {wanted}; export it again")
    for start in range(0, len(vectors), _LINES):
        if not (finite := np.isfinite(vectors[start : start + _LINES]).all(axis=1)).all():
            line = start + int(finite.argmin())
            raise ReleaseError(f"{file}: line {line}: a value is not a finite number; export the release again")
    return vectors
