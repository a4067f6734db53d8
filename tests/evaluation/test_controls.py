"""Controls of the codes: their shape, what they may see, and that each finds what it is about."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score

from tests.training.toy import toy_dataset
from userip.evaluation.controls import CONTROLS
from userip.evaluation.controls.bins import activity, generosity, polarity, popularity, quantile_bins
from userip.evaluation.controls.clusters import attributes_liked, items_met, preference
from userip.evaluation.controls.control_views import ControlViews
from userip.training.crossfit.folds import fold_of_rows
from userip.training.data.dataset import Dataset
from userip.training.errors import DataError
from userip.training.recommender.codes import CodeTable

SIZES = {"hobby": 4, "background": 3}
every_control = pytest.mark.parametrize("name", list(CONTROLS))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """120 users of three tastes, a quarter held out whole."""
    return toy_dataset(tmp_path_factory.mktemp("toy") / "set", split="users")


def _changed(dataset: Dataset, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Dataset:
    """The same data set with other interactions, in memory."""
    other = Dataset(dataset.path, dataset.info)
    rows = pl.read_parquet(dataset.path / "interactions.parquet")
    other.__dict__["_interactions"] = change(rows).sort("user_id", "timestamp", "item_id")
    return other


def _scrambled(rows: pl.DataFrame, which: pl.Expr) -> pl.DataFrame:
    """Other labels, and the item of another row, where `which` holds."""
    other = pl.col("item_id").shuffle(seed=3)
    return rows.with_columns(
        label=pl.when(which).then(~pl.col("label")).otherwise(pl.col("label")),
        item_id=pl.when(which).then(other).otherwise(pl.col("item_id")),
    )


def _made(name: str, dataset: Dataset, sizes: dict[str, int] | None = None, folds: int = 2, seed: int = 0) -> CodeTable:
    return CONTROLS[name](dataset, SIZES if sizes is None else sizes, folds, 5, seed)


@every_control
@pytest.mark.parametrize("folds", [0, 2, 3])
def test_a_control_has_the_shape_of_the_profile(name: str, folds: int, dataset: Dataset) -> None:
    """Train users have fold -1 and every fold, held-out users fold -1; codes lie within each facet's size."""
    table = _made(name, dataset, folds=folds)
    assert dict(table.sizes) == {"background": 3, "hobby": 4}
    assert table.method == name
    trained = dataset.rows("train")["user_id"].unique().sort()
    held = dataset.rows("history")["user_id"].unique()
    cut = range(folds) if folds > 1 else range(0)
    wanted = {(user, fold) for user in trained for fold in (-1, *cut)} | {(user, -1) for user in held}
    assert set(table.frame.select("user_id", "fold").iter_rows()) == wanted
    assert table.frame.height == len(wanted)
    assert table.frame.schema == {"user_id": pl.String, "fold": pl.Int8, "background": pl.UInt16, "hobby": pl.UInt16}
    for facet, size in SIZES.items():
        found = set(table.frame[facet].unique())
        # all users have as many rows here: of bins of activity, some stay empty
        assert found == set(range(size)) or (name == "activity" and found < set(range(size)))
    rows = table.rows_of(dataset.rows("train")["user_id"], fold_of_rows(dataset.rows("train"), folds, 5))
    if folds > 1:
        assert (rows > 0).all()  # the folds are those that the recommender looks up


@every_control
@pytest.mark.parametrize("sizes", [{"only": 5}, {"a": 9, "b": 3, "c": 4, "d": 9}])
def test_any_number_of_facets(name: str, sizes: dict[str, int], dataset: Dataset) -> None:
    """One facet or four: each has codes of its own size, and two facets of one size differ."""
    table = _made(name, dataset, sizes)
    for facet, size in sizes.items():
        assert table.frame[facet].max() == size - 1
    if "d" in sizes:
        assert (table.frame["a"] != table.frame["d"]).any()


@every_control
def test_valid_and_test_rows_change_nothing(name: str, dataset: Dataset) -> None:
    """Other labels and items there, and no rows at all there, leave every code as it was."""
    judged = pl.col("split").is_in(["valid", "test"])
    wanted = _made(name, dataset).frame
    assert _made(name, _changed(dataset, lambda rows: _scrambled(rows, judged))).frame.equals(wanted)
    assert _made(name, _changed(dataset, lambda rows: rows.filter(~judged))).frame.equals(wanted)


@every_control
def test_held_out_users_are_placed_by_what_others_fitted(name: str, dataset: Dataset) -> None:
    """Whatever held-out users did, or whether they exist, everybody else's codes stay; their own follow them."""
    users = dataset.rows("history")["user_id"].unique().sort()
    changed = set(users[: len(users) // 2])
    which = (pl.col("split") == "history") & pl.col("user_id").is_in(list(changed))
    before, after = (
        _made(name, data).frame for data in (dataset, _changed(dataset, lambda rows: _scrambled(rows, which)))
    )
    others = ~pl.col("user_id").is_in(list(changed))
    assert before.filter(others).equals(after.filter(others))
    if name != "activity":  # as many rows as before, but of other items
        assert not before.equals(after)
    trained = pl.col("user_id").is_in(dataset.rows("train")["user_id"].unique().implode())
    without = _changed(dataset, lambda rows: rows.filter(pl.col("split") != "history"))
    assert _made(name, without).frame.equals(before.filter(trained))


@every_control
def test_the_same_seed_gives_the_same_codes(name: str, dataset: Dataset) -> None:
    """In a second run, and whatever the order of the facets."""
    assert _made(name, dataset).frame.equals(_made(name, dataset, {"background": 3, "hobby": 4}).frame)


@pytest.mark.parametrize("name", ["kmeans", "genre-kmeans", "statistics", "statistics-mf"])
def test_another_seed_starts_k_means_elsewhere(name: str, dataset: Dataset) -> None:
    """Groups of another name or shape."""
    sizes = {"a": 8, "b": 8}
    assert not _made(name, dataset, sizes).frame.equals(_made(name, dataset, sizes, seed=1).frame)


@pytest.mark.parametrize("name", ["activity", "kmeans"])
def test_label_free_controls_do_not_look_at_labels(name: str, dataset: Dataset) -> None:
    """All labels turned round: the same codes."""
    turned = _changed(dataset, lambda rows: rows.with_columns(~pl.col("label")))
    assert _made(name, turned).frame.equals(_made(name, dataset).frame)


def _one_view(views: ControlViews, fold: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return (views.keys["fold"] == fold).to_numpy()


def test_values_of_a_fold_know_nothing_of_its_labels(dataset: Dataset) -> None:
    """All labels of fold 1 turned: polarity and preference in views of fold 1 stay to the bit, those of others move."""
    train = dataset.rows("train").with_columns(fold=fold_of_rows(dataset.rows("train"), 3, 5))
    mine = train.filter(pl.col("fold") == 1).select("user_id", "item_id", turned=pl.lit(True))

    def turn(rows: pl.DataFrame) -> pl.DataFrame:
        joined = rows.join(mine, on=["user_id", "item_id"], how="left")
        turned = pl.col("turned").fill_null(False) & (pl.col("split") == "train")
        return joined.with_columns(label=pl.col("label") ^ turned).drop("turned")

    before, after = (ControlViews.of(data, 3, 5) for data in (dataset, _changed(dataset, turn)))
    for one, two in ((polarity(before), polarity(after)), (preference(before, 0), preference(after, 0))):
        assert (one[_one_view(before, 1)] == two[_one_view(before, 1)]).all()
        for fold in (-1, 0, 2):
            assert (one[_one_view(before, fold)] != two[_one_view(before, fold)]).mean() > 0.5


def test_views_are_the_rows_without_a_fold(dataset: Dataset) -> None:
    """Row by row: user, fold, item and label, for three users and one that is held out."""
    views = ControlViews.of(dataset, 3, 5)
    train = dataset.rows("train").with_columns(cut=fold_of_rows(dataset.rows("train"), 3, 5))
    named = views.rows.join(views.keys.with_row_index("view").select("view", "user_id"), on="view")
    for user in [*train["user_id"].unique().sort()[:3]]:
        for fold in (-1, 0, 1, 2):
            kept = train.filter((pl.col("user_id") == user) & (pl.col("cut") != fold))
            found = named.filter((pl.col("user_id") == user) & (pl.col("fold") == fold))
            assert set(found.select("item_id", "label").iter_rows()) == set(kept.select("item_id", "label").iter_rows())
            assert found.height == kept.height
    held = dataset.rows("history").filter(pl.col("user_id") == dataset.rows("history")["user_id"][0])
    found = named.filter(pl.col("user_id") == held["user_id"][0])
    assert sorted(found["item_id"]) == sorted(held["item_id"])
    assert set(found["fold"]) == {-1}
    assert views.fitted.sum() == train["user_id"].n_unique()


def _small(tmp_path: Path, lines: list[tuple[str, str, bool, str]]) -> Dataset:
    dataset = toy_dataset(tmp_path / "small", users=8, per_user=4)
    template = (
        pl.read_parquet(dataset.path / "interactions.parquet").head(1).drop("user_id", "item_id", "label", "split")
    )
    frame = pl.DataFrame(lines, schema=["user_id", "item_id", "label", "split"], orient="row")
    return _changed(dataset, lambda rows: frame.join(template, how="cross").select(rows.columns))


def test_polarity_is_the_two_way_ridge_fit(tmp_path: Path) -> None:
    """Against normal equations: label = mean + item + user, both penalised with 5, on three users by four items."""
    cells = np.array([[1, 1, 0, 1], [0, 1, 0, 0], [1, 0, 1, 1]])
    lines = [(f"u{u}", f"i{i}", bool(cells[u, i]), "train") for u in range(3) for i in range(4)]
    views = ControlViews.of(_small(tmp_path, lines), 0, 0)
    design = np.zeros((12, 7))
    for row, (u, i) in enumerate((u, i) for u in range(3) for i in range(4)):
        design[row, u] = design[row, 3 + i] = 1.0
    fitted = np.linalg.solve(design.T @ design + 5 * np.eye(7), design.T @ (cells.ravel() - cells.mean()))
    assert polarity(views) == pytest.approx(fitted[:3], abs=1e-4)


def test_a_held_out_user_meets_unknown_items(tmp_path: Path) -> None:
    """By hand: an item that train does not know is expected at the mean; (1 - 3/4) / (1 + 5)."""
    lines = [
        ("a", "i1", True, "train"),
        ("a", "i2", True, "train"),
        ("b", "i1", True, "train"),
        ("b", "i2", False, "train"),
    ]
    data = _small(tmp_path, [*lines, ("c", "i9", True, "history")])
    views = ControlViews.of(data, 0, 0)
    assert polarity(views)[2] == pytest.approx((1 - 0.75) / 6)
    assert generosity(views) == pytest.approx([0.5 / 7, -0.5 / 7, 0.25 / 6])
    assert activity(views) == pytest.approx(np.log([2, 2, 1]))
    assert popularity(views) == pytest.approx([np.log(2), np.log(2), 0.0])


def test_activity_of_a_view_counts_for_the_whole(dataset: Dataset) -> None:
    """Half of the 24 rows of a user are as active as all of them."""
    views = ControlViews.of(dataset, 2, 5)
    trained = views.keys["trained"].to_numpy()
    assert set(views.keys.filter("trained")["rows"]) == {12, 24}
    assert activity(views)[trained] == pytest.approx(np.log(24))


def test_bins_hold_alike_many_of_the_fitted() -> None:
    """Cuts are quantiles of the fitted values alone; outliers elsewhere fall into the end bins."""
    values = np.concatenate([np.arange(100.0), [-1e9, 1e9]])
    fitted = np.arange(102) < 100
    found = quantile_bins(values, fitted, 4)
    assert np.bincount(found[:100]).tolist() == [25, 25, 25, 25]
    assert found[100:].tolist() == [0, 3]
    assert np.bincount(quantile_bins(values, fitted, 4, shift=0.5)[:100]).tolist() == [
        13,
        25,
        24,
        38,
    ]  # cuts at 12.4, 37.1, 61.9


def test_sparse_counts_are_those_of_a_loop(dataset: Dataset) -> None:
    """Items met, and attribute values of liked items, each attribute's values sharing the weight of one."""
    views = ControlViews.of(dataset, 2, 5)
    met, liked = items_met(views).toarray(), attributes_liked(views, dataset).toarray()
    items = sorted(views.rows["item_id"].unique())
    words = {row["item_id"]: row for row in dataset.items.iter_rows(named=True)}
    names = sorted(
        {("kind", words[i]["kind"]) for i in items}
        | {("shelf", s) for i in items for s in words[i]["shelf"].split("|")}
    )
    wanted, wanted_liked = np.zeros_like(met), np.zeros((len(met), len(names)))
    for view, item, label, _ in views.rows.select("view", "item_id", "label", "fold").iter_rows():
        wanted[view, items.index(item)] += 1
        if label:
            wanted_liked[view, names.index(("kind", words[item]["kind"]))] += 1
            for shelf in words[item]["shelf"].split("|"):
                wanted_liked[view, names.index(("shelf", shelf))] += 0.5**0.5
    assert (met == wanted).all()
    assert liked == pytest.approx(wanted_liked)


def _agreement(table: CodeTable, facet: str, truth: Callable[[str], int]) -> float:
    whole = table.frame.filter(pl.col("fold") == -1)
    return float(adjusted_rand_score([truth(user) for user in whole["user_id"]], whole[facet]))


def test_genre_k_means_finds_the_planted_tastes(dataset: Dataset) -> None:
    """Users n mod 3 like kind n mod 3, and held-out users are found as well as the others."""
    table = _made("genre-kmeans", dataset, {"taste": 3})
    assert _agreement(table, "taste", lambda user: int(user[1:]) % 3) > 0.8


def test_k_means_finds_users_who_meet_the_same_items(tmp_path: Path) -> None:
    """Two groups of items, two groups of users that met seven items each of their own group, labels at random."""
    rng = np.random.default_rng(0)
    lines = [
        (f"u{u}", f"i{u % 2 * 20 + i}", bool(rng.random() < 0.5), "history" if u > 50 else "train")
        for u in range(60)
        for i in rng.choice(20, 7, replace=False)
    ]
    data = _small(tmp_path, lines)
    for name, facet in (("kmeans", "a"), ("kmeans", "b"), ("statistics", "b")):
        assert _agreement(_made(name, data, {"a": 2, "b": 2}), facet, lambda user: int(user[1:]) % 2) == 1.0


def test_preference_finds_what_is_liked_among_what_everybody_meets(tmp_path: Path) -> None:
    """Two shelves that different users met more of; half of each crowd likes the first shelf: found, met or not."""
    rng = np.random.default_rng(2)
    lines = [
        (
            f"u{u}",
            f"i{i}",
            bool(rng.random() < (0.9 if u // 2 % 2 == i // 20 else 0.1)),
            "history" if u > 90 else "train",
        )
        for u in range(120)
        for i in [*rng.choice(20, 12 - u % 2 * 4, replace=False), *(20 + rng.choice(20, 8 + u % 2 * 4, replace=False))]
    ]
    data = _small(tmp_path, lines)
    assert _agreement(_made("statistics-mf", data, {"a": 2, "b": 2}), "b", lambda user: int(user[1:]) // 2 % 2) > 0.9
    assert _agreement(_made("statistics", data, {"a": 2, "b": 2}), "b", lambda user: int(user[1:]) // 2 % 2) < 0.1


def test_polarity_bins_order_users_by_planted_generosity(tmp_path: Path) -> None:
    """User n of 80 likes 10 + n percent, of items that everybody meets alike: codes rise with n in both controls."""
    rng = np.random.default_rng(1)
    lines = [
        (f"u{u:02}", f"i{i}", bool(rng.random() < 0.1 + u / 100), "history" if u % 4 == 3 else "train")
        for u in range(80)
        for i in range(40)
    ]
    data = _small(tmp_path, lines)
    for name in ("mean-rating", "statistics", "statistics-mf"):
        whole = _made(name, data, {"a": 8, "b": 4}).frame.filter(pl.col("fold") == -1)
        assert np.corrcoef(np.arange(80), whole["a"].to_numpy())[0, 1] > 0.9
    assert (
        np.corrcoef(
            np.arange(80), _made("mean-rating", data, {"a": 8, "b": 4}).frame.filter(pl.col("fold") == -1)["b"]
        )[0, 1]
        > 0.9
    )


def test_items_without_attributes_are_refused(dataset: Dataset) -> None:
    """By the control that needs them, with the fix."""
    bare = Dataset(dataset.path, dataset.info.model_copy(update={"attributes": ()}))
    with pytest.raises(DataError, match="items have no attributes to group users by; prepare"):
        _made("genre-kmeans", bare)
    assert _made("statistics", bare).frame.height
