"""From a release directory into a bank."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from userip.bank.protocol import Bank, Progress, Repaired
from userip.bank.record import UNKNOWN_CODE
from userip.bank.release_records import ReleaseRecords
from userip.release.errors import ReleaseError
from userip.release.manifest import PROFILES, Manifest, read_manifest
from userip.release.tables import map_vectors


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
    """The manifest and what a bank is given."""
    import polars as pl  # here: who publishes what is published already needs none

    manifest = read_manifest(release_dir)
    file = release_dir / PROFILES
    if PROFILES not in manifest.files:
        raise ReleaseError(f"{file}: the release has no profiles to publish; export it again")
    profiles = pl.read_parquet(file)
    fields = manifest.slot_fields
    if profiles.columns != ["user_id", "row", *(field.name for field in fields)] or profiles.height != manifest.users:
        raise ReleaseError(f"{file}: its columns or number of users differ from the manifest; export it again")
    rows = profiles["row"].to_numpy().astype(np.uint32)
    codes = np.empty((profiles.height, len(fields)), dtype=np.uint16)
    for slot, field in enumerate(fields):
        codes[:, slot] = profiles[field.name].to_numpy()
        wrong = (codes[:, slot] != UNKNOWN_CODE) & (codes[:, slot].astype(np.int64) + 1 >= field.size)
        if wrong.any():
            raise ReleaseError(f"{file}: column {field.name}: a code is over {field.size - 2}; export it again")
    tables = [field.size for field in manifest.fields if field.source == "user_row"]
    if rows.size and int(rows.max()) >= (tables[0] if tables else 1):
        raise ReleaseError(f"{file}: column row: a row is beyond the recommender's users; export it again")
    # A column has the length, items and slices that publishing asks for, without a Python string for every user.
    user_ids = cast("Sequence[str]", profiles["user_id"])
    return manifest, ReleaseRecords(user_ids, rows, codes, map_vectors(release_dir, manifest))
