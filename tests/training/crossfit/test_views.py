"""CrossFitViews: whole histories, and histories without a fold."""

import tracemalloc
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.training.toy import toy_dataset
from userip.training.crossfit.folds import fold_of_rows
from userip.training.crossfit.views import FULL, CrossFitViews, by_users
from userip.training.data.dataset import Dataset, Split
from userip.training.data.storage import write_dataset
from userip.training.language.item_texts import ItemTexts

SEED = 3


@pytest.fixture(scope="module", params=["random", "users"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small set, with every user in training, or with a quarter of them held out whole."""
    split: Split = request.param
    return toy_dataset(tmp_path_factory.mktemp(split) / "set", split=split, users=40, per_user=11)


def _brute_force(dataset: Dataset, folds: int, longest: int) -> dict[tuple[str, int], list[tuple[str, bool]]]:
    """(user, fold left out) -> (item, label) oldest first, row by row in plain Python."""
    train, held = dataset.rows("train"), dataset.rows("history")
    fold_of = dict(zip(train.select("user_id", "item_id").iter_rows(), fold_of_rows(train, folds, SEED), strict=True))
    histories = defaultdict(list)
    rows = [row for frame in (train, held) for row in frame.iter_rows(named=True)]
    for row in sorted(rows, key=lambda row: (row["user_id"], row["timestamp"], row["item_id"])):
        histories[row["user_id"]].append((row["item_id"], row["label"]))
    views = {}
    trained = set(train["user_id"])
    for user, whole in histories.items():
        recent = whole[-longest:]
        views[user, FULL] = recent
        if user in trained:
            for fold in range(folds):
                views[user, fold] = [(item, liked) for item, liked in recent if fold_of[user, item] != fold]
    return views


def _seen(dataset: Dataset, views: CrossFitViews, wanted: np.ndarray) -> list[list[tuple[str, bool]]]:
    histories = views.of_views(wanted)
    ids = dataset.items["item_id"].to_list()
    bounds = zip(histories.offsets[:-1], histories.offsets[1:], strict=True)
    return [[(ids[histories.items[k]], bool(histories.liked[k])) for k in range(a, b)] for a, b in bounds]


@pytest.mark.parametrize("folds", [0, 2, 3])
@pytest.mark.parametrize("longest", [5, 128])
def test_histories_equal_brute_force(dataset: Dataset, folds: int, longest: int) -> None:
    """Every view of everybody is the history that a loop over the rows gives; there are no other views."""
    views = CrossFitViews.of(dataset, folds, SEED, longest)
    expected = _brute_force(dataset, folds, longest)
    keys = [(views.users[user], int(fold)) for user, fold in zip(views.user, views.without, strict=True)]
    assert len(keys) == len(set(keys))
    assert set(keys) == set(expected)
    shuffled = np.random.default_rng(0).permutation(len(views))
    for view, seen in zip(shuffled, _seen(dataset, views, shuffled), strict=True):
        assert seen == expected[keys[view]]
    assert views.interactions().tolist() == [len(expected[key]) for key in keys]


@pytest.mark.parametrize("shard", [13, 1 << 19])
def test_ratings_are_those_of_the_rows(
    dataset: Dataset, shard: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every interaction that a view sees has the rating of its row, also where whole shards have none."""
    monkeypatch.setattr("userip.training.crossfit.views.by_users", lambda rows: by_users(rows, shard))
    rows = pl.read_parquet(dataset.path / "interactions.parquet")
    draw = np.random.default_rng(2)
    each = pl.Series(draw.permutation(rows.height).astype(np.float32))  # no two alike: none can be mistaken
    bare = pl.Series(draw.random(rows.height) < 0.2) | pl.col("user_id").is_in(["u0", "u1", "u10", "u11"])
    rows = rows.with_columns(rating=pl.when(~bare).then(each))
    given = {(user, item): rating for user, item, rating in rows.select("user_id", "item_id", "rating").iter_rows()}
    views = CrossFitViews.of(write_dataset(tmp_path / "set", dataset.info, rows, dataset.items), 2, SEED, 5)
    chosen = np.random.default_rng(0).permutation(len(views))
    seen = views.of_views(chosen)
    assert seen.rating is not None
    ids = dataset.items["item_id"].to_list()
    for owner, item, rating in zip(seen.owner, seen.items, seen.rating, strict=True):
        expected = given[views.users[views.user[chosen[owner]]], ids[item]]
        assert np.isnan(rating) if expected is None else rating == expected
    assert 0 < np.isnan(seen.rating).sum() < len(seen.rating) / 2


def test_a_set_of_labels_has_no_ratings(dataset: Dataset, tmp_path: Path) -> None:
    """Where no row has a rating, or there is no such column, histories have labels alone; all else is the same."""
    rows = pl.read_parquet(dataset.path / "interactions.parquet")
    rated = CrossFitViews.of(dataset, 2, SEED, 5)
    assert rated.histories.rating is not None
    for name, bare in (
        ("null", rows.with_columns(rating=pl.lit(None, pl.Float32))),
        ("none", rows.drop("rating")),
    ):
        views = CrossFitViews.of(write_dataset(tmp_path / name, dataset.info, bare, dataset.items), 2, SEED, 5)
        assert views.histories.rating is None
        assert np.array_equal(views.histories.items, rated.histories.items)
        assert np.array_equal(views.histories.liked, rated.histories.liked)


def test_a_fold_view_never_contains_a_row_of_its_fold(dataset: Dataset) -> None:
    """What cross-fitting rests on: the code of a train row's fold comes from a history without that row."""
    folds = 3
    views = CrossFitViews.of(dataset, folds, SEED, 128)
    train = dataset.rows("train").with_columns(fold=fold_of_rows(dataset.rows("train"), folds, SEED))
    place = {user: number for number, user in enumerate(views.users)}
    users = np.array([place[user] for user in train["user_id"]])
    view = views.view_of(users, train["fold"].to_numpy().astype(np.int64))
    assert (views.user[view] == users).all()
    for item, seen in zip(train["item_id"], _seen(dataset, views, view), strict=True):
        assert item not in [other for other, _ in seen]
        assert seen  # a user with several rows still has a history


def test_fold_minus_one_is_the_whole_history(dataset: Dataset) -> None:
    """`full` and `view_of(user, -1)` name the whole histories of the train users, in order."""
    views = CrossFitViews.of(dataset, 2, SEED, 128)
    users = np.arange(views.trained)
    assert (views.view_of(users, np.full(len(users), FULL)) == views.full).all()
    assert views.users[: views.trained] == sorted(dataset.rows("train")["user_id"].unique())


def test_held_out_users_have_their_history_alone(tmp_path: Path) -> None:
    """Users held out of training stand behind the others, with one view each, of their history rows."""
    dataset = toy_dataset(tmp_path / "set", split="users", users=40, per_user=11)
    views = CrossFitViews.of(dataset, 2, SEED, 128)
    held_out = sorted(dataset.rows("history")["user_id"].unique())
    assert held_out
    assert views.users[views.trained :] == held_out
    assert (np.bincount(views.user)[views.trained :] == 1).all()
    assert not set(views.full.tolist()) & set(range(views.trained, len(views.users)))


def test_rows_of_unknown_items_are_left_out(tmp_path: Path) -> None:
    """A row whose item is not in the catalogue is in no view, and the folds of the others stay where they are."""
    dataset = toy_dataset(tmp_path / "set", users=20, per_user=11)
    dataset.__dict__["items"] = dataset.items.filter(pl.col("item_id") != "i7")  # the cached catalogue
    views = CrossFitViews.of(dataset, 2, SEED, 128)
    expected = _brute_force(dataset, 2, 128)
    for view, seen in enumerate(_seen(dataset, views, np.arange(len(views)))):
        whole = expected[views.users[views.user[view]], int(views.without[view])]
        assert seen == [(item, liked) for item, liked in whole if item != "i7"]


def test_token_lengths_equal_brute_force(dataset: Dataset) -> None:
    """A view is as long as the texts of its interactions, polarity by polarity."""
    views = CrossFitViews.of(dataset, 3, SEED, 128)
    catalogue = dataset.items
    length = np.random.default_rng(1).integers(1, 9, size=(2, catalogue.height))
    texts = ItemTexts.__new__(ItemTexts)
    object.__setattr__(texts, "length", length)
    row = {item: number for number, item in enumerate(catalogue["item_id"])}
    expected = [
        sum(int(length[int(liked), row[item]]) for item, liked in seen)
        for seen in _seen(dataset, views, np.arange(len(views)))
    ]
    assert views.sums(texts.length[views.histories.liked.astype(int), views.histories.items]).tolist() == expected


def test_memory_for_a_batch_does_not_grow_with_the_users(tmp_path: Path) -> None:
    """What reading ten views takes is the same, byte for byte but a few, among 40 and among 640 users."""
    peaks = []
    for users in (40, 640):
        dataset = toy_dataset(tmp_path / str(users), split="random", users=users, per_user=8)
        views = CrossFitViews.of(dataset, 2, SEED, 128)
        views.of_views(np.arange(10))
        tracemalloc.start()
        views.of_views(np.arange(10))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize("most", [1, 7, 20, 1000])
def test_pieces_hold_whole_users_and_all_rows(most: int) -> None:
    """Rows sorted by user fall into pieces, none of them empty; together they are the rows, and no user is parted."""
    rows = pl.DataFrame({"user_id": [f"u{user}" for user in range(9) for _ in range(user + 1)]}).with_row_index()
    pieces = list(by_users(rows, most))
    assert pl.concat(pieces).equals(rows)
    assert all(piece.height for piece in pieces)
    assert sum(piece["user_id"].n_unique() for piece in pieces) == 9
    assert all(piece.height < most + 9 for piece in pieces)
    assert list(by_users(rows.clear(), most)) == []


def test_shards_change_nothing(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a few rows at a time or all at once: the same users, histories and folds."""
    whole = CrossFitViews.of(dataset, 3, SEED, 5)
    monkeypatch.setattr("userip.training.crossfit.views.by_users", lambda rows: by_users(rows, 13))
    parts = CrossFitViews.of(dataset, 3, SEED, 5)
    assert whole.users == parts.users
    assert np.array_equal(whole.histories.offsets, parts.histories.offsets)
    assert np.array_equal(whole.histories.items, parts.histories.items)
    assert np.array_equal(whole.histories.liked, parts.histories.liked)
    assert whole.histories.rating is not None
    assert parts.histories.rating is not None
    assert np.array_equal(whole.histories.rating, parts.histories.rating)
    assert np.array_equal(whole.fold, parts.fold)
