"""The text vectors of a data set: one per item, and per user one for the whole history and one per fold.

KAR keeps the labels of a row out of the text that the row is fitted with by a cut in time. Here the cut is by folds,
as for the codes (docs/method.md#cross-fitting): a train row of fold f gets the text of its user's other train rows.
Valid and test rows get the text of the whole history, which holds train rows, or for held-out users history rows, and
no valid or test row.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.evaluation.baselines.kar_texts import item_texts, item_words, user_texts
from userip.evaluation.baselines.text_encoder import Float32, TextEncoder, encode_kept
from userip.training.crossfit.folds import fold_of_rows
from userip.training.crossfit.histories import histories_of
from userip.training.crossfit.views import FULL
from userip.training.data.dataset import Dataset
from userip.training.recommender.encoder import rows_of_values

Ints = NDArray[np.int64]
SMALLEST: Final = 1e-6  # of a column's deviation


@dataclass(frozen=True, eq=False)
class TextVectors:
    """Vectors of mean 0 and deviation 1 in every column; row 0 of either table is zero: no text, the average.

    user_rows   user_id, fold i8 (-1: whole history), row i64 of `users`
    users       float32 [U, vector]                 items  float32 [1 + catalogue, vector], in catalogue order
    item_ids    the catalogue's ids                 folds, fold_seed  of `fold_of_rows`; below 2: not cross-fitted
    """

    user_rows: pl.DataFrame
    users: Float32
    items: Float32
    item_ids: pl.Series
    folds: int
    fold_seed: int

    def rows_of(self, interactions: pl.DataFrame, *, cross_fitted: bool = False) -> Ints:
        """Rows int64 [n, 2] of the user's and the item's vector, 0 without; `cross_fitted` for train rows."""
        folds = pl.Series("fold", np.full(interactions.height, FULL), pl.Int8)
        if cross_fitted and self.folds > 1:
            folds = fold_of_rows(interactions, self.folds, self.fold_seed)
        keys = interactions.select("user_id", "item_id").with_columns(folds.alias("fold"))
        users = keys.join(self.user_rows, on=["user_id", "fold"], how="left", maintain_order="left")["row"]
        return np.stack([users.fill_null(0).to_numpy(), self.item_rows(keys["item_id"])], axis=1)

    def item_rows(self, item_ids: pl.Series) -> Ints:
        """Rows int64 [n] of the items' vectors, 0 for an item that the catalogue does not know."""
        return rows_of_values(item_ids, self.item_ids.to_list())


def text_vectors(
    dataset: Dataset, encoder: TextEncoder, directory: Path, *, folds: int = 2, fold_seed: int = 0, budget: int = 400
) -> TextVectors:
    """Write the texts of users and items and encode them; vectors are kept in `directory`.

    No valid or test row is read. The columns are scaled by what train rows will see: held-out users count not.
    """
    items = item_texts(dataset.items, dataset.info.attributes)
    keys, texts = _user_texts(dataset, folds, fold_seed, budget)
    item_table = encode_kept(encoder, items, directory, "item texts")
    user_table = encode_kept(encoder, texts, directory, "user texts")
    trained = dataset.rows("train")["user_id"].unique()
    seen = keys.select(
        pl.col("user_id").is_in(trained.implode()) & ((pl.col("fold") == FULL) if folds < 2 else pl.col("fold") >= 0)
    ).to_series()
    return TextVectors(
        user_rows=keys.with_row_index("row", offset=1).select("user_id", "fold", pl.col("row").cast(pl.Int64)),
        users=_scaled(user_table, user_table[seen.to_numpy()]),
        items=_scaled(item_table, item_table),
        item_ids=dataset.items["item_id"],
        folds=folds,
        fold_seed=fold_seed,
    )


def _user_texts(dataset: Dataset, folds: int, fold_seed: int, budget: int) -> tuple[pl.DataFrame, list[str]]:
    """Lines (user_id, fold) and their texts; a user without rows outside of a fold has no line for it."""
    words = item_words(dataset.items, dataset.info.attributes)
    train, everything = dataset.rows("train"), dataset.rows("train", "history")
    fold = fold_of_rows(train, folds, fold_seed)
    views = [(FULL, everything)] + [(f, train.filter(fold != f)) for f in range(folds if folds > 1 else 0)]
    frames, texts = [], list[str]()
    for number, rows in views:
        users = rows["user_id"].unique().sort().to_list()
        said = user_texts(histories_of(rows, dataset.items, users), words, budget)
        kept = [(user, text) for user, text in zip(users, said, strict=True) if text]
        texts += [text for _, text in kept]
        frames.append(pl.DataFrame({"user_id": [user for user, _ in kept]}, schema={"user_id": pl.String}).with_columns(
            fold=pl.lit(number, pl.Int8)
        ))  # fmt: skip
    return pl.concat(frames), texts


def _scaled(vectors: Float32, fitted: Float32) -> Float32:
    """Every column by the mean and deviation of `fitted`, with a row of zeros in front."""
    mean, deviation = fitted.mean(axis=0), np.maximum(fitted.std(axis=0), SMALLEST)
    scaled: Float32 = ((vectors - mean) / deviation).astype(np.float32)
    return np.concatenate([np.zeros((1, vectors.shape[1]), np.float32), scaled])
