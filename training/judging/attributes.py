"""Which attributes items have."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

SEPARATOR = "|"  # between several values in one cell of the catalogue


def attributes_of(items: pl.DataFrame, columns: Sequence[str], least: int) -> tuple[NDArray[np.float32], list[str]]:
    """1 where an item has an attribute, float32 [I, a], and their names "column: value", sorted.

    Those of fewer than `least` items are left out.
    """
    named = [column for column in columns if column in items.columns]
    cells = [
        items.lazy()
        .select(value=pl.col(column).cast(pl.String).str.split(SEPARATOR))
        .with_row_index("row")
        .explode("value")
        .with_columns(pl.col("value").str.strip_chars())
        .filter(pl.col("value").is_not_null() & (pl.col("value") != ""))
        .select("row", name=pl.format("{}: {}", pl.lit(column), "value"))
        .unique()
        for column in named
    ]
    if not cells:
        return np.zeros((items.height, 0), np.float32), []
    held = pl.concat(cells).collect()
    names = held.group_by("name").len().filter(pl.col("len") >= least)["name"].sort()
    kept = held.filter(pl.col("name").is_in(names.implode()))
    table = np.zeros((items.height, len(names)), np.float32)
    table[kept["row"].to_numpy(), kept["name"].cast(pl.Enum(names)).to_physical().to_numpy()] = 1.0
    return table, names.to_list()
