"""Slot words, against examples that were computed by hand."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.tiny_language import ATTRIBUTES, FACETS, WIDTH, catalogue, frozen_lm, histories, random_histories
from training.language.config import FacetConfig
from training.language.fillers import (
    GENEROSITY,
    UNKNOWN,
    WARMTH,
    AttributeWords,
    Fillers,
    GenerosityWords,
    ItemCounts,
    NoWords,
    deviations,
    filler_vocabulary,
)

IDS = {" x": [1], " y": [2, 3], " w": [4], UNKNOWN: [9]} | {
    word: [10 + k] for k, word in enumerate((*GENEROSITY, *WARMTH))
}
TABLE = torch.randn(26, 5, generator=torch.Generator().manual_seed(0))
WARM = TABLE[18:]
ITEMS = pl.DataFrame({"title": list("abcde"), "kind": ["x|w", "x", "y", "y|w", "z"]})
TRAIN = histories([0, 1, 2], [2, ~3])


def _encode(text: str) -> list[int]:
    return IDS[text]


def test_counts_and_rates_by_hand() -> None:
    """Seen and liked per item; the rate is shrunk to the mean of all as if by three interactions."""
    counts = ItemCounts.of(histories([0, ~1], [0, ~1]), 3)
    assert counts.seen.tolist() == [2, 2, 0]
    assert counts.liked.tolist() == [2, 0, 0]
    assert counts.rate.tolist() == pytest.approx([(2 + 1.5) / 5, 1.5 / 5, 0.5])
    assert ItemCounts.of(histories([]), 2).rate.tolist() == [0.5, 0.5]


def test_attribute_words_by_hand() -> None:
    """Base rates x .4, y .6, w .4 (z is on one item only). Two likes of x and one of w: shares 6 to 1.

    x: (2 - .8) / sqrt(1.8); w: (1 - .8) / sqrt(1.8); so .857 of x's embedding and .143 of w's.
    """
    words = AttributeWords(ITEMS, ["kind"], _encode, ItemCounts.of(TRAIN, 5))
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
    words = AttributeWords(items, ["kind"], lambda text: [len(text)], ItemCounts.of(histories([0]), 6))
    assert words.words == ["v07", *(value for value in values if value != "v07"), "top"]


def test_without_columns_titles_are_the_words() -> None:
    """A catalogue without attributes: longer words that several titles share."""
    items = pl.DataFrame({"title": ["Star Wars", "Star Trek", "The Wars of 1066", "Solo"]})
    words = AttributeWords(items, [], lambda text: [len(text)], ItemCounts.of(histories([0]), 4))
    assert words.words == ["star", "wars"]


def test_a_catalogue_without_any_word_says_unknown() -> None:
    """Nothing to say of anybody: the word "unknown", not an error."""
    items = pl.DataFrame({"title": ["a", "b"]})
    bag = AttributeWords(items, [], _encode, ItemCounts.of(histories([0]), 2)).bag(histories([0, 1], []))
    assert torch.equal(bag.embed(TABLE), TABLE[[9, 9]])


def test_generosity_by_hand() -> None:
    """Rates .7 and .3; liking both is (.3 + .7) / (2 + 3) = .2, which here stands a quarter behind the sixth word."""
    counts = ItemCounts.of(histories([0, ~1], [0, ~1]), 2)
    some = histories([0, 1], [~0, ~1], [])
    (found,) = deviations(counts, some)  # no ratings: one scale
    assert found.tolist() == pytest.approx([0.2, -0.2, 0.0])
    words = GenerosityWords(counts, _encode, [np.linspace(-0.01, 0.27, 8)])
    got = words.bag(some).embed(TABLE)
    assert torch.allclose(got[0], 0.75 * TABLE[15] + 0.25 * TABLE[16], atol=1e-5)
    assert torch.allclose(got[1], TABLE[10])  # below the harshest word is the harshest word
    assert torch.allclose(got[2], 0.75 * TABLE[10] + 0.25 * TABLE[11], atol=1e-5)


def test_warmth_by_hand() -> None:
    """Ratings 4 and 2 of items whose means are 3.4 and 2.6 (shrunk to 3): +.6 and -.6 over 1 + 3 ratings.

    Where a history has no ratings it stands in the middle of that scale; its labels count all the same.
    """
    train = replace(histories([0, ~1], [0, ~1]), rating=np.array([4, 2, 4, 2], np.float32))
    counts = ItemCounts.of(train, 2)
    assert counts.mean_rating.tolist() == pytest.approx([3.4, 2.6])
    some = replace(histories([0], [~1], [0]), rating=np.array([4, 2, np.nan], np.float32))
    liked, warmth = deviations(counts, some)
    assert warmth.tolist() == pytest.approx([0.15, -0.15, 0.0])
    assert liked[0] == liked[2] > 0
    words = GenerosityWords(counts, _encode, [np.linspace(-0.35, 0.35, 8)] * 2)
    got = words.bag(some).embed(TABLE)
    place = liked[0] / 0.1 + 3.5
    kind = (
        (4 - place) * TABLE[13] + (place - 3) * TABLE[14]
        if place < 4
        else (5 - place) * TABLE[14] + (place - 4) * TABLE[15]
    )
    assert torch.allclose(got[0], (kind + WARM[5]) / 2, atol=1e-5)
    assert torch.allclose(got[2], (kind + (WARM[3] + WARM[4]) / 2) / 2, atol=1e-5)


def test_generosity_words_stand_at_quantiles() -> None:
    """Each of the eight words stands in the middle of an eighth of the users; ties are spread, so places rise."""
    train = random_histories(200, 8, seed=1, shortest=1)
    counts = ItemCounts.of(train, 12)
    (knots,) = GenerosityWords.knots_of(counts, train)
    values = np.sort(deviations(counts, train)[0])
    assert [np.mean(values <= knot) for knot in knots] == pytest.approx([(2 * k + 1) / 16 for k in range(8)], abs=0.02)
    (tied,) = GenerosityWords.knots_of(ItemCounts.of(histories([0], [0]), 1), histories([0], [0]))
    assert (np.diff(tied) > 0).all()
    (nobody,) = GenerosityWords.knots_of(ItemCounts.of(histories([]), 1), histories([]))
    assert (np.diff(nobody) > 0).all()


def test_a_facet_without_words_is_unknown() -> None:
    """The kind `none` says the same of everybody."""
    assert torch.equal(NoWords(_encode).bag(histories([1], [])).embed(TABLE), TABLE[[9, 9]])
    assert filler_vocabulary() == [UNKNOWN, *GENEROSITY, *WARMTH]


def _fitted(facets: tuple[FacetConfig, ...] = FACETS) -> tuple[Fillers, torch.Tensor]:
    lm = frozen_lm("gpt2")
    train = random_histories(30, 8, seed=2)
    return Fillers.fit(facets, catalogue(), ATTRIBUTES, lm.encode, train), lm.table


def test_what_is_restored_gives_identical_slots() -> None:
    """state, through JSON, and back: the same embeddings to the last bit."""
    fillers, table = _fitted()
    state = json.loads(json.dumps(fillers.state()))
    again = Fillers.restore(FACETS, catalogue(), ATTRIBUTES, frozen_lm("gpt2").encode, state)
    some = random_histories(20, 9, seed=3)
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
    words = AttributeWords(ITEMS, ["kind"], _encode, ItemCounts.of(TRAIN, 5))
    table = TABLE.clone().requires_grad_(True)
    words.bag(histories([0, 1])).embed(table).sum().backward()  # type: ignore[no-untyped-call]
    assert table.grad is not None
    assert table.grad.abs().sum(1).nonzero()[:, 0].tolist() == [1, 4]
