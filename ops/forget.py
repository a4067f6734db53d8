"""Forgetting one person in a release directory; `Bank.forget` does it in the bank.

What is rewritten is written into `<directory>.forgetting` beside it, the manifest last, and then moved in file by file:
a run that was killed on the way is finished by the next one, and a service that loads the release between two of these
moves refuses it, as it does any release whose hashes differ, and tries again.
"""

import os
import shutil
from pathlib import Path

import numpy as np

from userip.files import beside, locked, write_text
from userip.release.manifest import FOLD_INS, MANIFEST, PROFILES, VECTORS, read_manifest, sha256_of
from userip.release.tables import map_vectors


def forget_in_release(directory: Path, user_id: str) -> bool:
    """Take the user out of a release's profiles, and out of the histories that fold-in keeps beside it.

    Returns whether they were in either. Raises ReleaseError for a directory that is unsound.
    """
    directory = directory.resolve()
    in_profiles = _forget_profile(directory, user_id)
    return _forget_history(directory.with_name(FOLD_INS), user_id) or in_profiles


def _forget_profile(directory: Path, user_id: str) -> bool:
    import polars as pl  # here: a person may have to be forgotten in the bank alone

    writing = directory.with_name(directory.name + ".forgetting")
    _move_in(writing, directory)
    manifest = read_manifest(directory)
    if PROFILES not in manifest.files:
        return False
    profiles, vectors = pl.read_parquet(directory / PROFILES), map_vectors(directory, manifest)
    kept = (profiles["user_id"] != user_id).to_numpy()
    if kept.all():
        return False
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir()
    profiles.filter(kept).write_parquet(writing / PROFILES)
    if vectors is not None:
        np.save(writing / VECTORS, vectors[kept])
    hashes = {file.name: sha256_of(file) for file in writing.iterdir()}
    now = manifest.model_copy(update={"users": int(kept.sum()), "files": manifest.files | hashes})
    write_text(writing / MANIFEST, now.model_dump_json(indent=1))
    _move_in(writing, directory)
    return True


def _move_in(writing: Path, directory: Path) -> None:
    """Move what was written into its place, if it is complete: the manifest comes last, here as well."""
    if not (writing / MANIFEST).exists():
        return
    for file in (PROFILES, VECTORS, MANIFEST):
        if (writing / file).exists():
            os.replace(writing / file, directory / file)
    shutil.rmtree(writing)


def _forget_history(file: Path, user_id: str) -> bool:
    """The same for a file of histories, which need not exist."""
    import polars as pl

    with locked(file.parent):
        if not file.exists():
            return False
        histories = pl.read_parquet(file)
        kept = histories.filter(pl.col("user_id") != user_id)
        if kept.height < histories.height:
            with beside(file) as partial:
                kept.write_parquet(partial)
        return kept.height < histories.height
