"""Formulas: each finds what it is about, none sees what it may not."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tests.training.formulas.planted import planted_set
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError
from userip.training.formulas import CHEAP, FORMULAS
from userip.training.formulas.ground import Asked, Ground
from userip.training.formulas.item_vectors import Residuals, ridges
from userip.training.formulas.numbers import LINEAR, numbers_of, numbers_of_train
from userip.training.formulas.probabilities import FittedFormula, best_formula
from userip.training.formulas.tastes import fit_ease_items
from userip.training.recommender.metrics import auc, within_users

INSTALLED = [name for name in FORMULAS if name != "lightgbm" or importlib.util.find_spec("lightgbm")]
every_formula = pytest.mark.parametrize("name", INSTALLED)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A bit of everything."""
    out = tmp_path_factory.mktemp("mixed") / "set"
    return planted_set(out, ease=0.8, generosity=0.8, genre_taste=0.8, hidden_taste=0.8, users=240)


def _with(dataset: Dataset, **columns: pl.Expr) -> Dataset:
    """The same data set with other columns, in memory."""
    other = Dataset(dataset.path, dataset.info)
    rows = pl.read_parquet(dataset.path / "interactions.parquet").sort("user_id", "timestamp", "item_id")
    other.__dict__["_interactions"] = rows.with_columns(**columns)
    return other


def _figures(dataset: Dataset, name: str) -> tuple[float, float]:
    """AUC and GAUC of test rows."""
    test = dataset.final_eval()
    found = FittedFormula.fit(name, Ground(dataset)).predict(test)
    return auc(test["label"], found), within_users(test["user_id"], test["label"], found).mean("gauc")


def _error(labels: pl.Series) -> float:
    """Standard error of an AUC of .5."""
    liked = int(labels.sum())
    return float(np.sqrt((len(labels) + 1) / (12 * liked * (len(labels) - liked))))


@every_formula
def test_without_a_cause_nothing_is_found(name: str, tmp_path: Path) -> None:
    """Labels are coins: the test AUC is one half within four standard errors."""
    dataset = planted_set(tmp_path / "set")
    assert _figures(dataset, name)[0] == pytest.approx(0.5, abs=4 * _error(dataset.final_eval()["label"]))


@every_formula
def test_shuffled_train_labels_teach_nothing(name: str, mixed: Dataset) -> None:
    """Labels of train and history rows are dealt anew: no order of test rows is left, though they have one."""
    fitted = pl.col("split").is_in(["train", "history"])
    order = pl.col("label").shuffle(seed=5).over(fitted)
    dealt = _with(mixed, label=order, rating=pl.when(order).then(5.0).otherwise(1.0).cast(pl.Float32))
    labels = mixed.final_eval()["label"]
    kept = _with(dealt, label=pl.when(fitted).then(order).otherwise("label"))
    found = FittedFormula.fit(name, Ground(kept)).predict(mixed.test_pairs())
    # Users' histories are noise, so rows of a user err together: wider than the error of independent rows.
    assert auc(labels, found) == pytest.approx(0.5, abs=6 * _error(labels))


@every_formula
def test_test_labels_change_nothing(name: str, mixed: Dataset) -> None:
    """Other labels and ratings of test rows leave every score as it was, byte for byte."""
    test = pl.col("split") == "test"
    turned = _with(
        mixed,
        label=pl.when(test).then(~pl.col("label")).otherwise("label"),
        rating=pl.when(test).then(6 - pl.col("rating")).otherwise("rating"),
    )
    before, after = (FittedFormula.fit(name, Ground(one)).predict(mixed.test_pairs()) for one in (mixed, turned))
    assert np.array_equal(before, after)


def test_no_train_label_reaches_what_its_row_is_told(mixed: Dataset) -> None:
    """Turn one train row's label and rating: its own numbers stay to the last bit, those of others move."""
    before = numbers_of_train(Ground(mixed))
    rows = mixed.rows("train")
    for place in (0, 1234, rows.height - 1):
        user, item = rows.row(place)[:2]
        mine = (pl.col("user_id") == user) & (pl.col("item_id") == item)
        turned = _with(
            mixed,
            label=pl.when(mine).then(~pl.col("label")).otherwise("label"),
            rating=pl.when(mine).then(6 - pl.col("rating")).otherwise("rating"),
        )
        after = numbers_of_train(Ground(turned))
        assert np.array_equal(before[place], after[place])
        assert (before != after).any()


def test_train_rows_are_told_what_unseen_users_are(mixed: Dataset) -> None:
    """Numbers of train rows and of validation rows are of one distribution, but for the lengths of histories."""
    ground = Ground(mixed)
    train, valid = numbers_of_train(ground)[:, :LINEAR], numbers_of(ground, ground.valid[0])[:, :LINEAR]
    distance = np.abs(train.mean(axis=0) - valid.mean(axis=0)) / train.std(axis=0)
    assert distance.max() < 0.4, distance
    assert np.abs(train.std(axis=0) / valid.std(axis=0) - 1).max() < 0.4


def test_generosity_orders_users_and_no_candidates(tmp_path: Path) -> None:
    """Where users differ in generosity alone it makes the AUC; GAUC stays that of ease, exactly."""
    dataset = planted_set(tmp_path / "set", ease=0.7, generosity=1.5)
    plain, more = _figures(dataset, "ease"), _figures(dataset, "ease+generosity")
    assert more[0] > plain[0] + 0.1
    assert more[1] == plain[1] > 0.6


def test_each_taste_is_found_by_who_looks_for_it(tmp_path: Path) -> None:
    """Taste for genres by ridge over attributes; taste that no column names by factors and EASE; each by no other."""
    genres = planted_set(tmp_path / "genres", ease=0.7, genre_taste=1.5)
    hidden = planted_set(tmp_path / "hidden", ease=0.7, hidden_taste=1.5)
    base = {one: _figures(one, "judging")[1] for one in (genres, hidden)}
    for name in ("closed-form", "closed-form-both", "judging+closed-form"):
        assert _figures(genres, name)[1] > base[genres] + 0.04, name
    for name in ("closed-form-als", "closed-form-both", "ease-items"):
        assert _figures(hidden, name)[1] > base[hidden] + 0.04, name
    assert _figures(hidden, "closed-form")[1] == pytest.approx(base[hidden], abs=0.03)


def test_a_column_that_tells_ease_of_items(tmp_path: Path) -> None:
    """Items with a handful of rows: logistic regression learns from their genre what their rows are too few to say."""
    dataset = planted_set(tmp_path / "set", users=90, items=400, per_user=20)
    liked = pl.col("item_id").str.slice(1).cast(pl.Int64).is_in(_of_genres(dataset, {"g0", "g1", "g2"}))
    label = liked ^ (pl.int_range(pl.len()) % 5 == 0)  # one in five is turned round
    dataset = _with(dataset, label=label, rating=pl.when(label).then(5.0).otherwise(1.0).cast(pl.Float32))
    assert _figures(dataset, "lr")[0] > _figures(dataset, "judging")[0] + 0.03


def _of_genres(dataset: Dataset, genres: set[str]) -> list[int]:
    return dataset.items["item_id"].filter(dataset.items["genre"].is_in(genres)).str.slice(1).cast(pl.Int64).to_list()


@pytest.mark.parametrize("name", ["ease", "ease+generosity", "judging", "lr"])
def test_items_that_nobody_has_rated_are_told_by_their_attributes(name: str, tmp_path: Path) -> None:
    """Genres differ in ease; every sixth item is met in test rows alone: its genre orders it among others."""
    dataset = planted_set(tmp_path / "set", items=120)
    number = pl.col("item_id").str.slice(1).cast(pl.Int64)
    easy = number.is_in(_of_genres(dataset, {"g0", "g1", "g2"}))
    label = easy ^ (pl.int_range(pl.len()) % 4 == 0)  # one in four is turned round
    new = (number % 6 == 0) & (pl.col("split") != "test")
    told = _with(dataset, label=label, rating=pl.when(label).then(5.0).otherwise(1.0).cast(pl.Float32))
    rows = told.rows("train", "valid", "history")
    test = told.final_eval().filter(number % 6 == 0)
    told.__dict__["_interactions"] = pl.concat([rows.filter(~new), test])
    found = FittedFormula.fit(name, Ground(told)).predict(told.test_pairs())
    assert auc(test["label"], found) == pytest.approx(0.75, abs=0.05)  # of one who knows what is planted


@every_formula
def test_strangers_and_unknown_items_have_a_probability(name: str, mixed: Dataset) -> None:
    """A user without history, an item that no catalogue has, and both."""
    pairs = pl.DataFrame({"user_id": ["nobody", "u0000", "nobody"], "item_id": ["i001", "nothing", "nothing"]})
    found = FittedFormula.fit(name, Ground(mixed)).predict(pairs)
    assert found.dtype == np.float32
    assert ((found > 0.02) & (found < 0.98)).all()


@every_formula
def test_a_catalogue_without_attributes_is_no_error(name: str, mixed: Dataset) -> None:
    """Titles alone: nothing is told by attributes, and probabilities are finite."""
    bare = Dataset(mixed.path, mixed.info.model_copy(update={"attributes": ()}))
    assert np.isfinite(FittedFormula.fit(name, Ground(bare)).predict(mixed.test_pairs())).all()


@every_formula
def test_one_label_is_no_error(name: str, mixed: Dataset) -> None:
    """Everybody likes everything in train, or in validation: probabilities are finite."""
    for part in ("train", "valid"):
        one = _with(mixed, label=pl.when(pl.col("split") == part).then(pl.lit(value=True)).otherwise("label"))
        assert np.isfinite(FittedFormula.fit(name, Ground(one)).predict(mixed.test_pairs())).all()


def test_ridge_by_hand() -> None:
    """Two groups of one and two rows, and one without any: (x^T x + s)^-1 x^T r."""
    x, r = np.array([[2.0], [1.0], [3.0]]), np.array([1.0, -1.0, 2.0])
    found = ridges(np.array([0, 1, 3, 3]), x, r, 5.0)
    assert found[:, 0] == pytest.approx([2 / (4 + 5), (-1 + 6) / (1 + 9 + 5), 0.0])


def test_ease_on_residuals_is_a_regression_on_the_other_items(mixed: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of its weights is the ridge of that item's residuals on those of all others, solved on its own."""
    seen: list[NDArray[np.float64]] = []

    def keep(mine: object, weights: NDArray[np.float64], asked: Asked) -> NDArray[np.float64]:
        seen.append(weights)
        return np.zeros(len(asked.item))

    monkeypatch.setattr("userip.training.formulas.tastes.EASE_STRENGTHS", (100.0,))
    monkeypatch.setattr("userip.training.formulas.tastes._products", keep)
    ground = Ground(mixed)
    fit_ease_items(ground)
    train, item = ground.train, 7
    r = np.zeros((len(train), ground.items))
    r[train.owner, train.items] = Residuals.fit(train, ground.items).of(train)
    others = np.arange(ground.items) != item
    x = r[:, others]
    wanted = np.linalg.solve(x.T @ x + 100 * np.eye(x.shape[1]), x.T @ r[:, item])
    assert seen[0][others, item] == pytest.approx(wanted, abs=1e-4)
    assert seen[0][item, item] == 0


def test_the_best_is_chosen_on_validation(tmp_path: Path) -> None:
    """Where users differ in generosity, ease alone is not it."""
    dataset = planted_set(tmp_path / "set", ease=0.7, generosity=1.5)
    best = best_formula(dataset, CHEAP)
    losses = {name: -np.mean(np.log(_told(dataset, name))) for name in CHEAP}
    assert best.name == min(losses, key=lambda name: losses[name]) != "ease"


def _told(dataset: Dataset, name: str) -> NDArray[np.float64]:
    """The probability of what was."""
    valid = dataset.rows("valid")
    found = FittedFormula.fit(name, Ground(dataset)).predict(valid).astype(np.float64)
    return np.where(valid["label"].to_numpy(), found, 1 - found)


def test_without_lightgbm_one_line_says_what_to_install(mixed: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ConfigError, which the user can fix, and not an ImportError."""
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigError, match=r"pip install 'userip\[baselines\]'"):
        FittedFormula.fit("lightgbm", Ground(mixed))
