"""What codes stand for: planted tastes are named, codes without meaning get no words."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.training.toy import KINDS, toy_codes, toy_dataset
from userip.training.data.dataset import Dataset
from userip.training.export.config import ExportConfig
from userip.training.export.describe import collect_votes, describe
from userip.training.recommender.codes import CodeTable

CONFIG = ExportConfig(min_users=5)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "set", users=240)


def test_a_planted_taste_is_named_by_its_kind(dataset: Dataset) -> None:
    """Code k of `hobby` is the users who like items of kind k: that word, and items of that kind only."""
    found = describe(dataset, collect_votes(dataset), toy_codes(dataset), "hobby", CONFIG)
    kinds = dict(dataset.items.select("item_id", "kind").iter_rows())
    for code, kind in enumerate(KINDS):
        assert found[code].description[0] == kind
        assert not set(KINDS) - {kind} & set(found[code].description)
        assert len(found[code].items) == CONFIG.items
        assert {kinds[item.item_id] for item in found[code].items} == {kind}
        assert all(item.lift > 1.5 for item in found[code].items)
        assert found[code].share == pytest.approx(1 / 3)


def test_codes_without_meaning_get_no_words(dataset: Dataset) -> None:
    """Forty random codings: almost all of their codes are described by nothing."""
    votes, rng = collect_votes(dataset), np.random.default_rng(0)
    lengths = []
    for _ in range(40):
        drawn = pl.Series("hobby", rng.integers(0, 3, 240), pl.UInt16)
        codes = toy_codes(dataset)
        codes = CodeTable(codes.frame.with_columns(drawn), codes.sizes)
        lengths += [len(one.description) for one in describe(dataset, votes, codes, "hobby", CONFIG)]
    assert sum(length > 0 for length in lengths) <= 0.05 * len(lengths)


def test_a_lift_is_the_rate_of_the_code_over_the_rate_of_all(tmp_path: Path) -> None:
    """By hand, unsmoothed: the share of the code's users who like the item over the share of all users."""
    dataset = toy_dataset(tmp_path / "set", users=240)
    config = CONFIG.model_copy(update={"smoothing": 0.0})
    codes = toy_codes(dataset)
    found = describe(dataset, collect_votes(dataset), codes, "hobby", config)
    top = found[0].items[0]
    liked = dataset.rows("train").filter(pl.col("label") & (pl.col("item_id") == top.item_id))["user_id"]
    members = codes.frame.filter(pl.col("hobby") == 0)["user_id"]
    rate = len(set(liked) & set(members)) / len(members)
    assert top.lift == pytest.approx(rate / (len(liked) / 240), abs=1e-4)


def test_heavy_users_have_one_vote(tmp_path: Path) -> None:
    """What a single user likes does not describe a code, however many rows the user has."""
    dataset = toy_dataset(tmp_path / "set", users=240)
    votes = collect_votes(dataset)
    assert votes.words.group_by("user_id", "key").len()["len"].max() == 1
    assert votes.words["value"].is_between(0, 1, closed="right").all()
    one = toy_codes(dataset).frame.with_columns(hobby=(pl.col("user_id") != "u0").cast(pl.UInt16))
    found = describe(dataset, votes, CodeTable(one, {"hobby": 2}), "hobby", CONFIG)
    assert found[0].description == ()
    assert found[0].items == ()


def test_generous_and_critical_codes_are_told_apart(dataset: Dataset) -> None:
    """A code whose users like more, or less, of what they rate says so, with both rates."""
    votes = collect_votes(dataset)
    rates = votes.likes.sort("user_id")
    middle = rates["value"].median()
    split = (
        toy_codes(dataset)
        .frame.join(rates, on="user_id")
        .with_columns(background=(pl.col("value") > middle).cast(pl.UInt16))
    )
    found = describe(dataset, votes, CodeTable(split, {"background": 2}), "background", CONFIG)
    for code, one in enumerate(found):
        mine = split.filter(pl.col("background") == code)["value"].to_numpy().mean()
        everybody = rates["value"].to_numpy().mean()
        assert one.description[-1] == f"likes {mine:.0%} of what they rate (all users: {everybody:.0%})"


def test_constant_codes_have_nothing_to_stand_out_from(dataset: Dataset) -> None:
    """One code for everybody: no words, no items, the whole share; the other codes are empty."""
    codes = toy_codes(dataset).control("constant", 0)
    found = describe(dataset, collect_votes(dataset), codes, "hobby", CONFIG)
    assert [one.share for one in found] == [1.0, 0.0, 0.0]
    assert all(one.description == () and one.items == () for one in found)
