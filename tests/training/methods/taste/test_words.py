"""Codes in words."""

import numpy as np

from userip.training.judging.words import in_odds
from userip.training.methods.taste import words


def test_words_are_plain() -> None:
    """Odds, shares and attributes; what is too small for a word is left out."""
    assert in_odds(np.array([0.5, -0.7, 0.01])) == [
        "likes an item with 1.6 times the odds of others",
        "likes an item with 1/2.0 of the odds of others",
        "likes as much as others do",
    ]
    assert words.warmth(np.array([0.0]), 62.0, 38.0) == ["likes about 62 % of what they meet"]
    leanings = {"genre: Crime": [1.0, 0.0], "genre: Love": [-1.0, 0.0], "genre: War": [0.0, 0.01]}
    assert words.taste(np.array([[0.4, 1.0], [0.0, 0.0]]), leanings) == [
        "likes more than others: genre: Crime; likes less: genre: Love", "",
    ]  # fmt: skip
    assert words.taste(np.zeros((2, 2)), {}) == ["", ""]
