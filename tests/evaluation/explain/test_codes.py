"""What codes stand for: planted tastes are named, codes without meaning are not, and only train rows count."""

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import fisher_exact

from tests.training.tiny_run import easy_set
from tests.training.toy import toy_codes, toy_dataset
from userip.evaluation.explain.codes import FacetExplanation, explain_codes
from userip.training.data.catalogue import BACKGROUNDS, HOBBIES, PRICES
from userip.training.data.dataset import INTERACTIONS, PLANTED, Dataset
from userip.training.data.storage import write_dataset
from userip.training.errors import DataError
from userip.training.recommender.codes import CodeTable

GENRES = tuple(HOBBIES)[:4]
KINDS = BACKGROUNDS[:3]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return easy_set(tmp_path_factory.mktemp("shop") / "set", users=300)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("toy") / "set", users=240)


def _planted(dataset: Dataset, wrong: float) -> CodeTable:
    """Codes that say the planted hobby (index in GENRES) and background; a share of users has drawn ones."""
    truth, draw = pl.read_parquet(dataset.path / PLANTED).sort("user_id"), np.random.default_rng(5)
    columns = {}
    for name, values in (("hobby", GENRES), ("background", KINDS)):
        code = np.array([values.index(value) for value in truth[name]])
        drawn = draw.integers(len(values), size=len(code))
        columns[name] = np.where(draw.random(len(code)) < wrong, drawn, code).astype(np.uint16)
    frame = pl.DataFrame(
        {"user_id": truth["user_id"], "fold": pl.Series([-1] * truth.height, dtype=pl.Int8), **columns}
    )
    return CodeTable(frame, {"background": 3, "hobby": 4})


def _by_name(explained: tuple[FacetExplanation, ...]) -> dict[str, FacetExplanation]:
    return {facet.facet: facet for facet in explained}


@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_a_planted_hobby_is_named_by_its_genre(shop: Dataset, wrong: float) -> None:
    """The first attribute of a hobby's code is its genre and no other genre is shown, also with 30 % wrong codes.

    Every title word and every item that is shown is of that genre.
    """
    hobby = _by_name(explain_codes(shop, _planted(shop, wrong)))["hobby"]
    genre_of = dict(shop.items.select("item_id", "genre").iter_rows())
    for code, genre in zip(hobby.codes, GENRES, strict=True):
        assert (code.attributes[0].name, code.attributes[0].kind) == (genre, "genre")
        assert not set(GENRES) - {genre} & {one.name for one in code.attributes}
        assert code.words
        assert {one.name for one in code.words} <= {word for words in HOBBIES[genre] for word in words}
        assert code.items
        assert {genre_of[one.key] for one in code.items} == {genre}
        assert all(1 < one.low < one.lift <= one.high and one.p <= 0.05 for one in code.attributes + code.items)


def test_a_planted_background_is_named_by_its_price_and_generosity(shop: Dataset) -> None:
    """Students look for what is cheap and like the most, critics-to-be for what is expensive and like the least."""
    background = _by_name(explain_codes(shop, _planted(shop, 0.0)))["background"]
    prices = [{one.name for one in code.attributes if one.kind == "price"} for code in background.codes]
    assert PRICES[0] in prices[0]
    assert PRICES[2] in prices[2]
    assert not {PRICES[2]} & prices[0]
    assert not {PRICES[0]} & prices[2]
    polarity = [code.judgement.polarity for code in background.codes]
    for more, less in pairwise(polarity):
        assert more is not None
        assert less is not None
        assert more.low > less.high


def test_codes_without_meaning_show_nothing(shop: Dataset) -> None:
    """Of 40 facets of random codes, no more show anything than `alpha` allows."""
    codes = _planted(shop, 0.0)
    shown = 0
    for seed in range(20):
        for facet in explain_codes(shop, codes.control("random", seed), min_users=5):
            shown += any(code.items or code.attributes or code.words for code in facet.codes)
    assert shown <= 0.05 * 40


def test_the_correction_counts_all_candidates_of_all_codes(toy: Dataset) -> None:
    """By hand: items and words that ten users like, times the codes in use; p of an item is Fisher's times that."""
    hobby = _by_name(explain_codes(toy, toy_codes(toy)))["hobby"]
    liked = toy.rows("train").filter("label").join(toy.items, on="item_id")
    words = (
        liked.select("user_id", word=pl.col("title").str.to_lowercase().str.split(" "))
        .explode("word")
        .vstack(liked.select("user_id", word="kind"))
        .vstack(liked.select("user_id", word=pl.col("shelf").str.split("|")).explode("word"))
        .filter(pl.col("word").str.contains("^[a-z]{3,}$"))
        .unique()
        .group_by("word")
        .len()
    )
    items = liked.group_by("item_id").len()
    assert hobby.candidates == 3 * sum((table["len"] >= 10).sum() for table in (words, items))
    top = hobby.codes[1].items[0]
    mine = set(toy_codes(toy).frame.filter(pl.col("hobby") == 1)["user_id"])
    fans, everybody = set(liked.filter(pl.col("item_id") == top.key)["user_id"]), set(liked["user_id"])
    inside, outside = mine & everybody, everybody - mine
    table = [[len(fans & inside), len(inside - fans)], [len(fans & outside), len(outside - fans)]]
    assert top.users == len(fans & inside)
    assert top.lift == pytest.approx(len(fans & inside) / len(inside) / (len(fans) / len(everybody)))
    assert top.p == pytest.approx(fisher_exact(table, alternative="greater").pvalue * hobby.candidates)


def test_how_a_code_judges_is_a_mean_over_users(toy: Dataset) -> None:
    """By loops over rows: label, activity, and label minus the item's mean, each user counting once."""
    code = _by_name(explain_codes(toy, toy_codes(toy)))["hobby"].codes[2]
    rows = toy.rows("train").select("user_id", "item_id", "label").rows()
    of_item: dict[str, list[bool]] = {}
    of_user: dict[str, list[tuple[str, bool]]] = {}
    for user, item, label in rows:
        of_item.setdefault(item, []).append(label)
        of_user.setdefault(user, []).append((item, label))
    members = [rows for user, rows in of_user.items() if int(user[1:]) % 3 == 2]
    label = np.mean([np.mean([label for _, label in rows]) for rows in members])
    polarity = np.mean([np.mean([label - np.mean(of_item[item]) for item, label in rows]) for rows in members])
    said = code.judgement
    assert said.label is not None
    assert said.activity is not None
    assert said.polarity is not None
    assert code.users == len(members)
    assert said.label.mean == pytest.approx(label)
    assert said.polarity.mean == pytest.approx(polarity)
    sizes = [len(rows) for rows in members]
    assert said.activity.mean == pytest.approx(np.mean(sizes))
    assert said.activity.high - said.activity.mean == pytest.approx(1.96 * np.std(sizes, ddof=1) / 80**0.5, rel=1e-3)


def test_only_train_rows_count(toy: Dataset, tmp_path: Path) -> None:
    """With every other row's label turned round, the explanation is the same; with train labels turned, another."""
    codes = toy_codes(toy)
    rows = pl.read_parquet(toy.path / INTERACTIONS)
    explained = []
    for name, turned in (("others", pl.col("split") != "train"), ("train", pl.col("split") == "train")):
        changed = rows.with_columns(label=pl.col("label") ^ turned)
        dataset = write_dataset(tmp_path / name, toy.info, changed, toy.items)
        explained.append(explain_codes(dataset, codes))
    assert explained[0] == explain_codes(toy, codes)
    assert explained[1] != explained[0]


def test_users_that_are_held_out_are_not_counted(tmp_path: Path) -> None:
    """Of a users split, a facet's users are the train users, though held-out ones have codes too."""
    dataset = toy_dataset(tmp_path / "set", split="users")
    codes = toy_codes(dataset)
    train = dataset.rows("train")["user_id"].n_unique()
    assert codes.frame.height > train
    for facet in explain_codes(dataset, codes):
        assert facet.users == sum(code.users for code in facet.codes) == train


def test_codes_of_nobody_have_no_figures(toy: Dataset) -> None:
    """Constant codes: the first code is everybody and stands out in nothing, the rest are empty, and all is JSON."""
    explained = explain_codes(toy, toy_codes(toy).control("constant", 0))
    for facet in explained:
        assert [code.users for code in facet.codes] == [facet.users] + [0] * (len(facet.codes) - 1)
        assert not any(code.items or code.attributes or code.words for code in facet.codes)
        assert facet.codes[0].judgement == facet.everybody
        assert facet.codes[1].judgement.label is None
    assert json.loads(json.dumps([asdict(facet) for facet in explained], allow_nan=False))


def test_where_nobody_likes_anything_nothing_stands_out(toy: Dataset, tmp_path: Path) -> None:
    """No likes, or none often enough: judgements alone."""
    rows = pl.read_parquet(toy.path / INTERACTIONS)
    nothing = write_dataset(tmp_path / "set", toy.info, rows.with_columns(label=pl.lit(False)), toy.items)
    for facets in (explain_codes(nothing, toy_codes(toy)), explain_codes(toy, toy_codes(toy), min_users=1000)):
        assert all(facet.candidates == 0 and facet.codes[0].judgement.label is not None for facet in facets)
        assert not any(code.items or code.attributes or code.words for facet in facets for code in facet.codes)


def test_codes_of_other_users_are_refused(toy: Dataset) -> None:
    """Codes whose users the data set does not know are one clear error."""
    codes = toy_codes(toy)
    strangers = codes.frame.with_columns(user_id=pl.lit("x") + pl.col("user_id"))
    with pytest.raises(DataError, match="made from another data set"):
        explain_codes(toy, CodeTable(strangers, codes.sizes))
