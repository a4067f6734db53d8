"""Write a data set directory: everything beside, then one rename, so that a data set is whole or absent."""

from pathlib import Path

import polars as pl

from userip.files import directory_beside
from userip.release.manifest import sha256_of
from userip.training.data.dataset import INFO, INTERACTIONS, ITEMS, PLANTED, Dataset, DatasetInfo
from userip.training.errors import DataError


def refuse_to_overwrite(out: Path) -> None:
    """Raise DataError unless `out` is free, an empty directory, or an earlier data set and nothing else."""
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out}: is a file; --out names the data set directory to write")
    names = {entry.name for entry in out.iterdir()}
    if names and INFO not in names:
        raise DataError(f"{out}: is not a data set directory; choose another --out")
    if foreign := sorted(names - {INFO, INTERACTIONS, ITEMS, PLANTED}):
        raise DataError(f"{out}: holds files of something else: {', '.join(foreign[:3])}; move them away")


def write_dataset(
    out: Path,
    info: DatasetInfo,
    interactions: pl.DataFrame,
    items: pl.DataFrame,
    planted: pl.DataFrame | None = None,
) -> Dataset:
    """Write the four files to `out` and open the result. `info.files` is filled in here.

    Raises DataError where `out` is in use for something else or cannot be written, DiskFullError.
    """
    refuse_to_overwrite(out)
    out = out.resolve()
    try:
        with directory_beside(out) as writing:
            interactions.write_parquet(writing / INTERACTIONS)
            items.write_parquet(writing / ITEMS)
            if planted is not None:
                planted.write_parquet(writing / PLANTED)
            files = {name: sha256_of(writing / name) for name in (INTERACTIONS, ITEMS)}
            complete = info.model_copy(update={"files": files})
            (writing / INFO).write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{out}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    return Dataset.open(out)
