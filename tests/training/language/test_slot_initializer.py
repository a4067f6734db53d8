"""Slot words, against examples that were computed by hand."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.tiny_language import ATTRIBUTES, FACETS, WIDTH, catalogue, frozen_lm, histories, random_histories
from userip.training.crossfit.histories import Histories
from userip.training.judging.judgements import Judgements
from userip.training.language.config import FacetConfig
from userip.training.language.slot_initializer import (
    GENEROSITY,
    UNKNOWN,
    WARMTH,
    AttributeWords,
    GenerosityWords,
    NoWords,
    SlotInitializer,
    filler_vocabulary,
)

IDS = {" x": [1], " y": [2, 3], " w": [4], UNKNOWN: [9]} | {
    word: [10 + k] for k, word in enumerate((*GENEROSITY, *WARMTH))
}
TABLE = torch.randn(26, 5, generator=torch.Generator().manual_seed(0))
WARM = TABLE[18:]
ITEMS = pl.DataFrame({"title": list("abcde"), "kind": ["x|w", "x", "y", "y|w", "z"]})
SEEN = np.array([1.0, 1.0, 2.0, 1.0, 0.0])  # how often each item was met in train histories


def _encode(text: str) -> list[int]:
    return IDS[text]


def test_attribute_words_by_hand() -> None:
    """Base rates x .4, y .6, w .4 (z is on one item only). Two likes of x and one of w: shares 6 to 1.

    x: (2 - .8) / sqrt(1.8); w: (1 - .8) / sqrt(1.8); so .857 of x's embedding and .143 of w's.
    """
    words = AttributeWords(ITEMS, ["kind"], _encode, SEEN)
    assert sorted(words.words) == ["w", "x", "y"]
    got = words.bag(histories([0, 1], [0], [3, ~0, ~1, ~4], [~0], [])).embed(TABLE)
    assert torch.allclose(got[0], 6 / 7 * TABLE[1] + 1 / 7 * TABLE[4], atol=1e-6)
    assert torch.allclose(got[1], (TABLE[1] + TABLE[4]) / 2, atol=1e-6)
    # Item 3 carries y and w: w (1 - .4) / sqrt(1.4), y (1 - .6) / sqrt(1.6), y's two tokens in halves.
    w, y = 0.6 / 1.4**0.5, 0.4 / 1.6**0.5
    expected = (w * TABLE[4] + y * (TABLE[2] + TABLE[3]) / 2) / (w + y)
    assert torch.allclose(got[2], expected, atol=1e-6)  # dislikes say nothing here
    assert torch.equal(got[3], TABLE[9])
    assert torch.equal(got[4], TABLE[9])


def test_words_stand_in_one_order_in_every_process() -> None:
    """By count, then by the alphabet: a set of strings has another order in every process, and ties are the rule."""
    values = [f"v{n:02}" for n in range(40)]
    cells = ["|".join(values)] * 3 + ["top|v07", "top", "else"]
    items = pl.DataFrame({"title": ["t"] * 6, "kind": cells})
    words = AttributeWords(items, ["kind"], lambda text: [len(text)], np.ones(6))
    assert words.words == ["v07", *(value for value in values if value != "v07"), "top"]


def test_without_columns_titles_are_the_words() -> None:
    """A catalogue without attributes: longer words that several titles share."""
    items = pl.DataFrame({"title": ["Star Wars", "Star Trek", "The Wars of 1066", "Solo"]})
    words = AttributeWords(items, [], lambda text: [len(text)], np.ones(4))
    assert words.words == ["star", "wars"]


def test_a_catalogue_without_any_word_says_unknown() -> None:
    """Nothing to say of anybody: the word "unknown", not an error."""
    items = pl.DataFrame({"title": ["a", "b"]})
    bag = AttributeWords(items, [], _encode, np.ones(2)).bag(histories([0, 1], []))
    assert torch.equal(bag.embed(TABLE), TABLE[[9, 9]])


def test_generosity_by_hand() -> None:
    """One like of an item of even odds puts a user at c with 1 - sigma(c) = c; the words stand in between the knots.

    c = .401: a like is a quarter behind the sixth word; a dislike, at -.401, is as far before the third.
    """
    one = 0.4010581375
    assert 1 - 1 / (1 + np.exp(-one)) == pytest.approx(one)
    some = histories([0], [~0], [], [0] * 12)
    step = one / 1.75  # knots at +- .5, 1.5, 2.5, 3.5 steps: c is 1.75 steps from the middle
    knots = step * np.linspace(-3.5, 3.5, 8)
    words = GenerosityWords(Judgements(np.zeros(1), None), _encode, [knots])
    got = words.bag(some).embed(TABLE)
    assert torch.allclose(got[0], 0.75 * TABLE[15] + 0.25 * TABLE[16], atol=1e-5)
    assert torch.allclose(got[1], 0.75 * TABLE[12] + 0.25 * TABLE[11], atol=1e-5)
    assert torch.allclose(got[2], 0.5 * TABLE[13] + 0.5 * TABLE[14], atol=1e-5)
    assert torch.allclose(got[3], TABLE[17], atol=1e-6)  # beyond the most generous word is the most generous word


def test_warmth_is_the_other_half_of_the_slot() -> None:
    """Ratings 4 and 2 of items that get 3.4 and 2.6: +.6 and -.6 over 1 + 3 ratings; half the slot says so.

    Where a history has no ratings it stands in the middle of that scale; its labels count all the same.
    """
    judgements = Judgements(np.zeros(2), np.array([3.4, 2.6]))
    some = replace(histories([0], [~1], [0]), rating=np.array([4, 2, np.nan], np.float32))
    likes = histories([0], [~1], [0])
    knots = [np.linspace(-0.7, 0.7, 8), np.linspace(-0.35, 0.35, 8)]
    kind = GenerosityWords(Judgements(np.zeros(2), None), _encode, knots[:1]).bag(likes).embed(TABLE)
    got = GenerosityWords(judgements, _encode, knots).bag(some).embed(TABLE)
    assert torch.allclose(got[0], (kind[0] + WARM[5]) / 2, atol=1e-5)
    assert torch.allclose(got[1], (kind[1] + WARM[2]) / 2, atol=1e-5)
    assert torch.allclose(got[2], (kind[2] + (WARM[3] + WARM[4]) / 2) / 2, atol=1e-5)


def test_generosity_words_stand_at_quantiles() -> None:
    """Each of the eight words of a scale stands in the middle of an eighth of the users who have a history."""
    train = random_histories(200, 8, seed=1, shortest=1).then(histories(*[[] for _ in range(80)]))
    rating = np.random.default_rng(1).normal(3, 1, len(train.items)).astype(np.float32)
    train = replace(train, rating=rating)
    judgements = Judgements.fit(train, 12)
    knots = GenerosityWords.knots_of(judgements, train)
    assert len(knots) == 2
    for places, values in zip(knots, judgements.scales(train), strict=True):
        shares = [np.mean(values[:200] <= place) for place in places]
        assert shares == pytest.approx([(2 * k + 1) / 16 for k in range(8)], abs=0.02)


def test_words_keep_their_order_where_users_are_tied_or_missing() -> None:
    """Places rise even if all train users stand at one, or there is nobody, so that np.interp can be asked."""
    for train in (histories([0], [0]), histories([]), histories()):
        (knots,) = GenerosityWords.knots_of(Judgements.fit(train, 1), train)
        assert len(knots) == 8
        assert (np.diff(knots) > 0).all()
        words = GenerosityWords(Judgements.fit(train, 1), _encode, [knots])
        assert torch.isfinite(words.bag(histories([0], [~0], [])).embed(TABLE)).all()


def test_a_facet_without_words_is_unknown() -> None:
    """The kind `none` says the same of everybody."""
    assert torch.equal(NoWords(_encode).bag(histories([1], [])).embed(TABLE), TABLE[[9, 9]])
    assert filler_vocabulary() == [UNKNOWN, *GENEROSITY, *WARMTH]


def _fitted(facets: tuple[FacetConfig, ...] = FACETS, *, rated: bool = False) -> tuple[SlotInitializer, torch.Tensor]:
    lm = frozen_lm("gpt2")
    train = random_histories(30, 8, seed=2)
    if rated:
        train = _with_ratings(train)
    return SlotInitializer.fit(facets, catalogue(), ATTRIBUTES, lm.encode, train), lm.table


def _with_ratings(some: Histories) -> Histories:
    return replace(some, rating=np.random.default_rng(0).integers(1, 6, len(some.items)).astype(np.float32))


def test_fitting_counts_every_meeting_with_an_item() -> None:
    """The base rates of the words rest on likes and dislikes alike; judgements are those of the same histories."""
    train = histories([0, 1, 2], [2, ~3])
    fillers = SlotInitializer.fit(FACETS, ITEMS, ["kind"], lambda text: [len(text)], train)
    assert fillers.seen.tolist() == SEEN.tolist()
    assert fillers.judgements.ease.tolist() == Judgements.fit(train, 5).ease.tolist()
    assert len(fillers.knots) == 1
    assert len(SlotInitializer.fit(FACETS, ITEMS, ["kind"], lambda text: [len(text)], _with_ratings(train)).knots) == 2


def test_ratings_reach_the_slot_where_train_histories_had_some() -> None:
    """The same likes with lower ratings: other words of warmth, the same hobby; not so for a run of labels."""
    some = _with_ratings(random_histories(6, 9, seed=3, shortest=4))
    assert some.rating is not None
    colder = replace(some, rating=some.rating - 1)
    for rated in (True, False):
        fillers, table = _fitted(rated=rated)
        before, after = fillers.slots(some, table), fillers.slots(colder, table)
        assert torch.equal(before[:, 0], after[:, 0])
        # Who stands beyond the coldest word stays there, so not everybody has to move.
        assert int((before[:, 1] != after[:, 1]).any(dim=1).sum()) >= 3 if rated else torch.equal(before, after)


@pytest.mark.parametrize("rated", [True, False])
def test_what_is_restored_gives_identical_slots(rated: bool) -> None:
    """state, through JSON, and back: the same embeddings to the last bit."""
    fillers, table = _fitted(rated=rated)
    state = json.loads(json.dumps(fillers.state()))
    again = SlotInitializer.restore(FACETS, catalogue(), ATTRIBUTES, frozen_lm("gpt2").encode, state)
    some = _with_ratings(random_histories(20, 9, seed=3))
    assert torch.equal(fillers.slots(some, table), again.slots(some, table))


def test_slots_are_one_column_per_facet_and_hide_on_request() -> None:
    """[U, J, d]; a hidden slot says "unknown", others do not change."""
    fillers, table = _fitted((*FACETS, FacetConfig(name="mood", phrase=" Mood", filler="none")))
    some = random_histories(6, 9, seed=3, shortest=4)
    hidden = np.zeros((6, 3), dtype=np.bool_)
    hidden[2, 0] = hidden[4, 1] = True
    open_, closed = fillers.slots(some, table), fillers.slots(some, table, hidden)
    assert open_.shape == (6, 3, WIDTH)
    unknown = table[frozen_lm("gpt2").encode(UNKNOWN)[0]]
    assert torch.equal(closed[2, 0], unknown)
    assert torch.equal(closed[4, 1], unknown)
    assert torch.equal(closed[~torch.from_numpy(hidden)], open_[~torch.from_numpy(hidden)])
    assert torch.equal(open_[:, 2], unknown.expand(6, -1))


def test_a_users_words_do_not_depend_on_others_beside() -> None:
    """Alone or among others, in any order, the slot is the same."""
    fillers, table = _fitted()
    some = random_histories(8, 9, seed=4)
    whole = fillers.slots(some, table)
    for user in range(8):
        assert torch.allclose(fillers.slots(some.of(np.array([user])), table)[0], whole[user], atol=1e-6)


def test_gradients_reach_the_embeddings_of_the_words() -> None:
    """The small model learns what its slot words mean: their rows, and no others, get a gradient."""
    words = AttributeWords(ITEMS, ["kind"], _encode, SEEN)
    table = TABLE.clone().requires_grad_(True)
    words.bag(histories([0, 1])).embed(table).sum().backward()  # type: ignore[no-untyped-call]
    assert table.grad is not None
    assert table.grad.abs().sum(1).nonzero()[:, 0].tolist() == [1, 4]
