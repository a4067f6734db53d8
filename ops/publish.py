"""From a release directory into a bank."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.bank.protocol import Bank, Progress, Repaired
from userip.bank.record import UNKNOWN_CODE
from userip.bank.release_records import ReleaseRecords
from userip.release.errors import ReleaseError
from userip.release.manifest import PROFILES, Manifest, read_manifest

VECTORS: Final = "vectors.npy"
_LINES: Final = 1 << 16  # of vectors that are looked at at a time


def publish_release(release_dir: Path, bank: Bank, activate: bool = True, progress: Progress | None = None) -> Manifest:
    """Write the records of a release beside the others, verified; then, with `activate`, move the pointer.

    Raises ReleaseError for a directory that is unsound, and what the bank raises; the active release is
    then as it was.
    """
    manifest, records = _read(release_dir)
    bank.publish(manifest.release, records, progress)
    if activate:
        bank.activate(manifest.release)
    return manifest


def repair_release(release_dir: Path, bank: Bank) -> Repaired:
    """Write those records of a published release that the bank has lost.

    Raises ReleaseError for a directory that is unsound, and what the bank raises; what is lost then still counts so.
    """
    manifest, records = _read(release_dir)
    return bank.repair(manifest.release, records)


def _read(release_dir: Path) -> tuple[Manifest, ReleaseRecords]:
    """The manifest and what a bank is given.

    Where the manifest has `vector` = V > 0, vectors.npy holds the users' vectors: float32 [users, V], in the order
    of profiles.parquet.
    """
    manifest = read_manifest(release_dir)
    file = release_dir / PROFILES
    if PROFILES not in manifest.files:
        raise ReleaseError(f"{file}: the release has no profiles to publish; export it again")
    profiles = pl.read_parquet(file)
    fields = sorted((field for field in manifest.fields if field.slot is not None), key=lambda f: f.slot or 0)
    names = [field.name for field in fields]
    if profiles.columns != ["user_id", "row", *names] or profiles.height != manifest.users:
        raise ReleaseError(f"{file}: its columns or number of users differ from the manifest; export it again")
    rows = profiles["row"].to_numpy().astype(np.uint32)
    codes = np.empty((profiles.height, len(names)), dtype=np.uint16)
    for slot, field in enumerate(fields):
        codes[:, slot] = profiles[field.name].to_numpy()
        wrong = (codes[:, slot] != UNKNOWN_CODE) & (codes[:, slot].astype(np.int64) + 1 >= field.size)
        if wrong.any():
            raise ReleaseError(f"{file}: column {field.name}: a code is over {field.size - 2}; export it again")
    tables = [field.size for field in manifest.fields if field.source == "user_row"]
    if rows.size and int(rows.max()) >= (tables[0] if tables else 1):
        raise ReleaseError(f"{file}: column row: a row is beyond the recommender's users; export it again")
    vectors = _vectors(release_dir, manifest)
    # A column has the length, items and slices that publishing asks for, without a Python string for every user.
    user_ids = cast("Sequence[str]", profiles["user_id"])
    return manifest, ReleaseRecords(user_ids, rows, codes, vectors)


def _vectors(release_dir: Path, manifest: Manifest) -> NDArray[np.float32] | None:
    """The users' vectors, mapped into memory; None for a release without any."""
    if not manifest.vector:
        return None
    file = release_dir / VECTORS
    if VECTORS not in manifest.files:
        raise ReleaseError(f"{file}: not there, and the manifest wants a vector per user; export the release again")
    try:
        vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ReleaseError(f"{file}: not a .npy file ({error}); export the release again") from None
    wanted = (manifest.users, manifest.vector)
    if vectors.dtype != np.float32 or vectors.shape != wanted:
        raise ReleaseError(f"{file}: {vectors.dtype} {vectors.shape}, expected float32 {wanted}; export it again")
    for start in range(0, len(vectors), _LINES):
        if not (finite := np.isfinite(vectors[start : start + _LINES]).all(axis=1)).all():
            line = start + int(finite.argmin())
            raise ReleaseError(f"{file}: line {line}: a value is not a finite number; export the release again")
    return vectors  # type: ignore[no-any-return]
