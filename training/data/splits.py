"""The splits. Each returns one part per row and depends on the rows and the seed, not on their order.

random    80 / 10 / 10 % of the rows; every user and every item keeps at least one train row
temporal  one cut in time for all: the first 80 % train, the next 10 % valid, the rest test
users     15 % of the users held out whole for test and 10 % for valid; of a held-out user's rows a random
          80 % are `history` (for fold-in only), the rest is for evaluation; all other rows are train
items     15 % of the items held out whole for test and 10 % for valid: nobody has rated them; all other rows are train
users-items  users held out as in `users`, and a quarter of the items: held-out users' rows of these items are for
          evaluation, their other rows history; train users' rows of them are left out, so nobody has rated them
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from userip.training.data.dataset import Split
from userip.training.errors import DataError, EmptyDataError

TEST_SHARE: Final = 0.15  # of users, or of items
VALID_SHARE: Final = 0.10
EVALUATED_SHARE: Final = 0.20  # of a held-out user's rows


def add_split(interactions: pl.DataFrame, rule: Split, seed: int) -> pl.DataFrame:
    """Sort the rows by (user_id, item_id) and add the column `split`; rows that belong to no part are left out.

    Raises EmptyDataError if a part would be empty, DataError if the rule needs times that are not there.
    """
    ordered = interactions.sort("user_id", "item_id")
    split = ordered.with_columns(RULES[rule](ordered, np.random.default_rng(seed)).alias("split")).drop_nulls("split")
    for part in ("train", "valid", "test"):
        if not (split["split"] == part).any():
            raise EmptyDataError(
                f"--split {rule} leaves no {part} rows out of {split.height} interactions of "
                f"{split['user_id'].n_unique()} users; give more data or another --split"
            )
    return split


def _random(ordered: pl.DataFrame, rng: np.random.Generator) -> pl.Series:
    n = ordered.height
    draw = ordered.select("user_id", "item_id").with_columns(
        rank=pl.Series(rng.random(n).argsort().argsort()),
    )
    draw = draw.with_columns(
        split=pl.when(pl.col("rank") < _share(0.1, n))
        .then(pl.lit("test"))
        .when(pl.col("rank") < 2 * _share(0.1, n))
        .then(pl.lit("valid"))
        .otherwise(pl.lit("train"))
    )
    # Few users and items miss train altogether; one row of each moves there, which takes from nobody.
    for entity in ("user_id", "item_id"):
        deprived = (pl.col("split") == "train").any().over(entity).not_()
        chosen = pl.col("rank") == pl.col("rank").max().over(entity)
        draw = draw.with_columns(split=pl.when(deprived & chosen).then(pl.lit("train")).otherwise(pl.col("split")))
    return draw["split"]


def _temporal(ordered: pl.DataFrame, _rng: np.random.Generator) -> pl.Series:
    without = ordered["timestamp"].null_count()
    if without:
        raise DataError(f"--split temporal needs a time in every row; {without:,} rows have none")
    n, times = ordered.height, ordered["timestamp"].sort()
    # Rows of one time stay together, on the earlier side of the cut.
    train_until, valid_until = (
        times[max(n - 2 * _share(0.1, n), 1) - 1],
        times[max(n - _share(0.1, n), 1) - 1],
    )
    time = pl.col("timestamp")
    return ordered.select(
        split=pl.when(time <= train_until)
        .then(pl.lit("train"))
        .when(time <= valid_until)
        .then(pl.lit("valid"))
        .otherwise(pl.lit("test"))
    )["split"]


def _users(ordered: pl.DataFrame, rng: np.random.Generator) -> pl.Series:
    # Who has a single row cannot give both a history and something to be tested on: always trained on.
    users = _held_out(ordered, "user_id", rng, least=2).with_columns(
        evaluated=pl.max_horizontal(1, (pl.col("rows") * EVALUATED_SHARE + 0.5).floor()),
    )
    rows = ordered.select("user_id").with_columns(draw=pl.Series(rng.random(ordered.height)))
    rows = rows.join(users, on="user_id", how="left", maintain_order="left")
    within = pl.col("draw").rank("ordinal").over("user_id")
    return rows.select(
        split=pl.when((pl.col("held") == "train") | (within <= pl.col("evaluated")))
        .then("held")
        .otherwise(pl.lit("history"))
    )["split"]


def _items(ordered: pl.DataFrame, rng: np.random.Generator) -> pl.Series:
    items = _held_out(ordered, "item_id", rng, least=1)
    return ordered.select("item_id").join(items, on="item_id", how="left", maintain_order="left")["held"]


def _users_items(ordered: pl.DataFrame, rng: np.random.Generator) -> pl.Series:
    users = _held_out(ordered, "user_id", rng, least=2)
    items = _held_out(ordered, "item_id", rng, least=1).select("item_id", new=pl.col("held") != "train")
    rows = ordered.select("user_id", "item_id").join(users, on="user_id", how="left", maintain_order="left")
    rows = rows.join(items, on="item_id", how="left", maintain_order="left")
    trained = pl.col("held") == "train"
    return rows.select(
        split=pl.when(trained & ~pl.col("new"))
        .then(pl.lit("train"))
        .when(~trained)
        .then(pl.when("new").then("held").otherwise(pl.lit("history")))
    )["split"]


def _held_out(ordered: pl.DataFrame, key: str, rng: np.random.Generator, least: int) -> pl.DataFrame:
    """Every user or item: key, rows, and `held`, which is test, valid or train; those of fewer rows are train."""
    found = ordered.group_by(key).len("rows").sort(key)
    found = found.with_columns(draw=pl.Series(rng.random(found.height))).with_columns(
        rank=pl.when(pl.col("rows") >= least).then("draw").rank("ordinal") - 1
    )
    able = found["rank"].count()
    test, valid = (max(1, _share(share, able)) for share in (TEST_SHARE, VALID_SHARE))
    return found.select(
        key,
        "rows",
        held=pl.when(pl.col("rank") < test)
        .then(pl.lit("test"))
        .when(pl.col("rank") < test + valid)
        .then(pl.lit("valid"))
        .otherwise(pl.lit("train")),
    )


def _share(share: float, n: int) -> int:
    return int(share * n + 0.5)


RULES: Final[dict[Split, Callable[[pl.DataFrame, np.random.Generator], pl.Series]]] = {
    "random": _random,
    "temporal": _temporal,
    "users": _users,
    "items": _items,
    "users-items": _users_items,
}
