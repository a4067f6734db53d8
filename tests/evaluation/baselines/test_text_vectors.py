"""Whose rows a text is made of, and which row of a table an interaction is given."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.evaluation.baselines.tiny_encoder import tiny_encoder
from tests.training.toy import toy_dataset
from userip.evaluation.baselines.text_encoder import Float32, TextEncoder
from userip.evaluation.baselines.text_vectors import TextVectors, text_vectors
from userip.training.crossfit.folds import fold_of_rows
from userip.training.data.dataset import Dataset, split_hash_of
from userip.training.data.storage import write_dataset


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "users", split="users", users=48, items=30, per_user=10)


@pytest.fixture(scope="module")
def vectors(dataset: Dataset, encoder: TextEncoder, tmp_path_factory: pytest.TempPathFactory) -> TextVectors:
    return text_vectors(dataset, encoder, tmp_path_factory.mktemp("vectors"))


def _rewritten(dataset: Dataset, out: Path, interactions: pl.DataFrame) -> Dataset:
    """The same data set with other interactions."""
    info = dataset.info
    hashed = info.model_copy(update={"split_hash": split_hash_of(interactions, info.split, info.seed)})
    return write_dataset(out, hashed, interactions, dataset.items)


def _interactions(dataset: Dataset) -> pl.DataFrame:
    return pl.read_parquet(dataset.path / "interactions.parquet")


@pytest.mark.parametrize("split", ["random", "users"])
def test_valid_and_test_rows_leave_no_trace(split: str, encoder: TextEncoder, tmp_path: Path) -> None:
    """With every valid and test row's item, label and rating drawn anew, all vectors are the same, byte for byte."""
    dataset = toy_dataset(tmp_path / "a", split=split, users=30, items=30, per_user=10)  # type: ignore[arg-type]
    rows = _interactions(dataset)
    held = rows["split"].is_in(["valid", "test"])
    rng = np.random.default_rng(0)
    drawn = pl.DataFrame({"item_id": [f"i{n}" for n in rng.integers(0, 30, rows.height)]}).with_columns(
        label=pl.Series(rng.random(rows.height) < 0.5), rating=pl.Series(rng.random(rows.height), dtype=pl.Float32)
    )
    other = rows.with_columns(
        pl.when(held).then(drawn[name]).otherwise(pl.col(name)).alias(name) for name in drawn.columns
    )
    assert held.sum() > 40
    changed = _rewritten(dataset, tmp_path / "b", other)
    before, after = (text_vectors(d, encoder, tmp_path / n) for d, n in ((dataset, "va"), (changed, "vb")))
    assert before.users.tobytes() == after.users.tobytes()
    assert before.items.tobytes() == after.items.tobytes()
    assert before.user_rows.equals(after.user_rows)
    assert dataset.test_reads == changed.test_reads == 0


def test_the_text_of_a_train_row_does_not_know_its_label(
    dataset: Dataset, encoder: TextEncoder, vectors: TextVectors, tmp_path: Path
) -> None:
    """A train row's label flipped: its own text is the same; those of the other fold and the whole history are not."""
    train = dataset.rows("train")
    folds = fold_of_rows(train, 2, 0)
    row = 17
    user, item, fold = train["user_id"][row], train["item_id"][row], folds[row]
    mine = (pl.col("user_id") == user) & (pl.col("item_id") == item)
    flipped = _interactions(dataset).with_columns(label=pl.col("label") ^ mine)
    changed = text_vectors(_rewritten(dataset, tmp_path / "b", flipped), encoder, tmp_path / "v")

    def text_of(table: TextVectors, number: int) -> Float32:
        line = table.user_rows.filter((pl.col("user_id") == user) & (pl.col("fold") == number))
        vector: Float32 = table.users[line["row"][0]]
        return vector

    # Scaled by all users' texts, of which a few others changed: equal is near, far from the spread of users.
    spread = changed.users[1:].std(axis=0).mean()
    assert np.abs(text_of(changed, fold) - text_of(vectors, fold)).max() < 0.1 * spread
    assert np.abs(text_of(changed, 1 - fold) - text_of(vectors, 1 - fold)).max() > 0.3 * spread
    assert np.abs(text_of(changed, -1) - text_of(vectors, -1)).max() > 0.3 * spread


def test_train_rows_get_their_folds_text_and_others_the_whole(dataset: Dataset, vectors: TextVectors) -> None:
    """By a loop over rows: the line of (user, fold of the row), and of (user, -1) where rows are not for training."""
    lines = {(user, fold): row for user, fold, row in vectors.user_rows.iter_rows()}
    places = {item: row + 1 for row, item in enumerate(dataset.items["item_id"])}
    train, valid = dataset.rows("train"), dataset.rows("valid")
    folds = fold_of_rows(train, 2, 0)
    crossed = vectors.rows_of(train, cross_fitted=True)
    for row, (user, item, fold) in enumerate(zip(train["user_id"], train["item_id"], folds, strict=True)):
        assert tuple(crossed[row]) == (lines[user, fold], places[item])
    for row, (user, item) in enumerate(zip(valid["user_id"], valid["item_id"], strict=True)):
        assert tuple(vectors.rows_of(valid)[row]) == (lines[user, -1], places[item])
    assert not set(valid["user_id"]) & set(train["user_id"]), "these are users that no training row has"


def test_who_and_what_is_unknown_gets_row_0(vectors: TextVectors) -> None:
    """A user without rows and an item outside of the catalogue have no text, which is a vector of zeros."""
    asked = pl.DataFrame({"user_id": ["u0", "nobody"], "item_id": ["nothing", "i3"]})
    rows = vectors.rows_of(asked)
    assert rows[0, 0] > 0
    assert rows[1, 1] > 0
    assert (rows[0, 1], rows[1, 0]) == (0, 0)
    assert not vectors.users[0].any()
    assert not vectors.items[0].any()


def test_columns_are_scaled_by_what_training_sees(dataset: Dataset, vectors: TextVectors) -> None:
    """The texts of train rows have mean 0 and deviation 1; those of held-out users are scaled likewise, not counted."""
    trained = set(dataset.rows("train")["user_id"])
    used = vectors.user_rows.filter(pl.col("fold") >= 0)
    assert set(used["user_id"]) == trained
    seen = vectors.users[used["row"].to_numpy()]
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(axis=0), 1, atol=1e-3)
    held = vectors.user_rows.filter(~pl.col("user_id").is_in(list(trained)))
    assert set(held["fold"]) == {-1}
    assert held.height == 12
