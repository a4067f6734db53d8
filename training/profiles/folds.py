"""Cross-fitting: which fold a train row belongs to."""

import numpy as np
import polars as pl


def fold_of_rows(rows: pl.DataFrame, folds: int, seed: int) -> pl.Series:
    """Fold of every row: i8, 0 .. folds - 1, balanced within each user (sizes differ by at most one).

    Depends on (user_id, item_id, seed) alone, not on the order of the rows or on other users.
    """
    if folds < 1:
        return pl.Series("fold", np.zeros(rows.height, dtype=np.int8))
    # Rank the user's rows by a hash, start at a hash of the user: short histories do not all begin in fold 0.
    shuffled = pl.concat_str("user_id", pl.lit("\x1f"), "item_id").hash(seed=seed)
    rank = shuffled.rank("ordinal").over("user_id").cast(pl.UInt64)
    start = pl.col("user_id").hash(seed=seed + 1) % folds
    return rows.select(fold=((rank + start) % folds).cast(pl.Int8))["fold"]
