"""Histories as flat arrays, against lists of lists."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.training.tiny_language import histories, random_histories
from userip.training.crossfit.histories import Histories, catalogue_rows, histories_of

ITEMS = pl.DataFrame({"item_id": ["b", "a", "c"]})


def _lists(some: Histories) -> list[list[tuple[int, bool]]]:
    """The interactions of every user, read one by one."""
    pairs = list(zip(some.items.tolist(), some.liked.tolist(), strict=True))
    return [pairs[int(some.offsets[u]) : int(some.offsets[u + 1])] for u in range(len(some))]


def _rated(some: Histories, seed: int = 0) -> Histories:
    """The same with a rating from 1 to 5, or none, for every interaction; no two ratings are the same."""
    draw = np.random.default_rng(seed)
    rating = 1 + 4 * draw.permutation(len(some.items)).astype(np.float32) / max(len(some.items), 1)
    return replace(some, rating=np.where(draw.random(len(rating)) < 0.2, np.float32(np.nan), rating))


def _ratings(some: Histories) -> list[list[tuple[int, bool, float | None]]]:
    """The interactions of every user with their ratings, None for none."""
    assert some.rating is not None
    assert some.rating.dtype == np.float32
    values = [None if np.isnan(value) else float(value) for value in some.rating]
    triples = list(zip(some.items.tolist(), some.liked.tolist(), values, strict=True))
    return [triples[int(some.offsets[u]) : int(some.offsets[u + 1])] for u in range(len(some))]


def test_rows_become_histories_in_the_order_of_users() -> None:
    """Rows keep their order within a user; unknown items and users are left out; nobody's history is empty."""
    rows = pl.DataFrame(
        {
            "user_id": ["v", "u", "v", "x", "u", "v"],
            "item_id": ["a", "b", "zzz", "a", "c", "b"],
            "label": [True, False, True, True, True, False],
        }
    )
    got = histories_of(rows, ITEMS, ["w", "v", "u"])
    assert _lists(got) == [[], [(1, True), (0, False)], [(0, False), (2, True)]]
    assert got.lengths.tolist() == [0, 2, 2]
    assert got.owner.tolist() == [1, 1, 2, 2]


def test_an_item_that_is_not_in_the_catalogue_has_no_row() -> None:
    """Rows of the catalogue in the order of the ids asked for, null for a stranger."""
    assert catalogue_rows(ITEMS, pl.Series(["c", "q", "b", "c"])).to_list() == [2, None, 0, 2]


def test_histories_of_no_rows() -> None:
    """A data set without rows gives empty histories, not an error."""
    rows = pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String, "label": pl.Boolean})
    assert histories_of(rows, ITEMS, ["u", "v"]).lengths.tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_selections_are_those_of_lists(seed: int) -> None:
    """keep, of, then and last, on random histories with empty ones among them."""
    some = random_histories(9, 6, seed)
    lists, draw = _lists(some), np.random.default_rng(seed)
    mask = draw.random(len(some.items)) < 0.5
    kept = iter(mask.tolist())
    assert _lists(some.keep(mask)) == [[pair for pair in user if next(kept)] for user in lists]
    users = draw.integers(9, size=12)
    assert _lists(some.of(users)) == [lists[u] for u in users.tolist()]
    assert _lists(some.then(some.of(users))) == lists + [lists[u] for u in users.tolist()]
    assert _lists(some.last(2)) == [user[-2:] for user in lists]


@pytest.mark.parametrize("seed", range(5))
def test_ratings_stay_beside_their_interactions(seed: int) -> None:
    """keep, of, then, joined and last carry the rating of every interaction; so do sample and pick."""
    some, draw = _rated(random_histories(9, 6, seed), seed), np.random.default_rng(seed)
    lists = _ratings(some)
    mask = draw.random(len(some.items)) < 0.5
    kept = iter(mask.tolist())
    assert _ratings(some.keep(mask)) == [[entry for entry in user if next(kept)] for user in lists]
    users = draw.integers(9, size=12)
    assert _ratings(some.of(users)) == [lists[u] for u in users.tolist()]
    assert _ratings(some.then(some.of(users))) == lists + [lists[u] for u in users.tolist()]
    assert _ratings(Histories.joined([some, some, some])) == lists * 3
    assert _ratings(some.last(2)) == [user[-2:] for user in lists]
    for drawn in (some.pick(3, seed), some.sample(3, draw)):
        assert [len(user) for user in _ratings(drawn)] == [min(len(user), 3) for user in lists]
        assert all(set(part) <= set(user) for part, user in zip(_ratings(drawn), lists, strict=True))


def test_histories_without_ratings_stay_without() -> None:
    """Labels alone: nothing that is done to histories makes a rating up."""
    some = histories([0, ~1, 2], [], [3, 4])
    users = np.array([2, 0])
    for made in (
        some.keep(some.liked), some.of(users), some.then(some), Histories.joined([some, some]), some.last(1),
        some.pick(1, 0), some.sample(1, np.random.default_rng(0)),
    ):  # fmt: skip
        assert made.rating is None
    assert Histories.joined([]).rating is None


def test_joined_with_rated_histories_unrated_ones_have_none_of_their_own() -> None:
    """NaN where a part has no ratings, in the place of that part; empty parts spoil nothing."""
    rated, bare = replace(histories([0], [~1]), rating=np.array([5, 2], np.float32)), histories([2, 3])
    assert _ratings(bare.then(rated)) == [[(2, True, None), (3, True, None)], [(0, True, 5.0)], [(1, False, 2.0)]]
    assert _ratings(Histories.joined([rated, histories([]), bare])) == [
        [(0, True, 5.0)], [(1, False, 2.0)], [], [(2, True, None), (3, True, None)],
    ]  # fmt: skip


def test_rows_bring_their_ratings() -> None:
    """A rating stays with its row through the sorting and the leaving out; null is none."""
    rows = pl.DataFrame(
        {
            "user_id": ["v", "u", "v", "x", "u", "v"],
            "item_id": ["a", "b", "zzz", "a", "c", "b"],
            "label": [True, False, True, True, True, False],
            "rating": [4.5, 1.0, 5.0, 3.5, None, 2.0],
        }
    )
    got = histories_of(rows, ITEMS, ["w", "v", "u"])
    assert _ratings(got) == [[], [(1, True, 4.5), (0, False, 2.0)], [(0, False, 1.0), (2, True, None)]]
    assert got.rating is not None
    assert np.isnan(got.rating).tolist() == [False, False, False, True]


@pytest.mark.parametrize("rating", [None, pl.lit(None, pl.Float32)])
def test_rows_of_labels_alone_have_no_ratings(rating: pl.Expr | None) -> None:
    """Without the column, or with nothing in it: None, as for a data set of labels."""
    rows = pl.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "b"], "label": [True, False]})
    if rating is not None:
        rows = rows.with_columns(rating=rating)
    assert histories_of(rows, ITEMS, ["u"]).rating is None


def test_a_sample_keeps_order_and_short_histories() -> None:
    """At most `count` of each, different ones, in their order; a history that is short enough stays whole."""
    some = histories(list(range(10)), [3, ~4], [])
    for seed in range(20):
        drawn = _lists(some.sample(4, np.random.default_rng(seed)))
        assert len(drawn[0]) == 4
        assert drawn[0] == sorted(set(drawn[0]))
        assert drawn[1] == [(3, True), (4, False)]
        assert drawn[2] == []
    seen = {pair for seed in range(60) for pair in _lists(some.sample(4, np.random.default_rng(seed)))[0]}
    assert len(seen) == 10  # everything is drawn some time


def test_ranks_are_a_random_order_of_each_history() -> None:
    """Every user's ranks are 0 .. length - 1, and they differ from draw to draw."""
    some = histories([1, 2, 3, 4, 5], [], [6, 7, 8])
    ranks = some.ranks(np.random.default_rng(0))
    assert sorted(ranks[:5].tolist()) == [0, 1, 2, 3, 4]
    assert sorted(ranks[5:].tolist()) == [0, 1, 2]
    assert any(ranks.tolist() != some.ranks(np.random.default_rng(seed)).tolist() for seed in range(1, 4))
