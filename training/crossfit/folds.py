"""Cross-fitting: which fold a train row belongs to."""

from zlib import crc32

import numpy as np
import polars as pl


def fold_of_rows(rows: pl.DataFrame, folds: int, seed: int) -> pl.Series:
    """Fold of every row: i8, 0 .. folds - 1, balanced within each user (sizes differ by at most one).

    Depends on (user_id, item_id, seed) alone: not on the order of the rows, on other users, or on the version of a
    library, since two steps of a run have to agree.
    """
    if folds < 1:
        return pl.Series("fold", np.zeros(rows.height, dtype=np.int8))
    pairs = zip(rows["user_id"], rows["item_id"], strict=True)
    # Straight into an array: as a list, the numbers would take nine times the memory.
    hashes = (crc32(f"{seed}\x1f{user}\x1f{item}".encode()) for user, item in pairs)
    shuffled = pl.Series(np.fromiter(hashes, dtype=np.uint32, count=rows.height))
    users = rows["user_id"].unique().sort()
    # Each user's ranks begin at another fold: short histories do not all begin in fold 0.
    begin = pl.DataFrame({"user_id": users, "begin": [crc32(f"{seed}\x1f{user}".encode()) for user in users]})
    keyed = rows.select("user_id", "item_id", shuffled.alias("key")).join(
        begin, on="user_id", how="left", maintain_order="left"
    )
    # Equal hashes are told apart by the item.
    rank = pl.struct("key", "item_id").rank("ordinal").over("user_id").cast(pl.Int64)
    return keyed.select(fold=((rank + pl.col("begin")) % folds).cast(pl.Int8))["fold"]
