"""Which attributes items have, and what these say of items that nobody has met."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.training.data.dataset import SEPARATOR

SHRINKAGE: Final = 10.0  # items that the prior "attributes say nothing" is worth
MEETINGS: Final = 5.0  # with which an item tells as much as all others with more


Floats = NDArray[np.float64]


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


def told_by_attributes(values: Floats, table: NDArray[np.float32], met: Floats) -> Floats:
    """The same values [I], but of items that nobody has met what a ridge over attributes [I, a] says: float64 [I].

    met float64 [I]: how often train users met each.
    """
    if met.all() or not met.any():
        return values
    weight = met / (met + MEETINGS)
    mean, x = np.average(values, weights=weight), table.astype(np.float64)
    centre = np.average(x, axis=0, weights=weight)
    x = x - centre
    gram = (x * weight[:, None]).T @ x + SHRINKAGE * np.eye(x.shape[1])
    told = mean + x @ np.linalg.solve(gram, x.T @ (weight * (values - mean)))
    return np.where(met > 0, values, told)
