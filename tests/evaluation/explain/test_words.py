"""Nearest words: whole words only, by cosine, and never without what chance would say."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from tests.training.tiny_language import frozen_lm, reader_of
from userip.evaluation.explain.words import NearestWords, WholeWords, nearest_words

LM = frozen_lm("gpt2")
READER = reader_of(LM)
WORDS = WholeWords.of(LM, READER)


def _embedding(word: str) -> torch.Tensor:
    return WORDS.embeddings[WORDS.words.index(word)]


def _p(found: NearestWords, like: str) -> float:
    (p,) = (chance.p for chance in found.chances if chance.like == like)
    return p


def test_words_are_whole() -> None:
    """Every word is one token that reads as the word; what the tokenizer cuts in pieces is not among them."""
    for word, row in zip(WORDS.words, WORDS.embeddings, strict=True):
        (token,) = LM.encode(" " + word)
        assert LM.tokenizer.decode([token]) == " " + word
        assert torch.equal(row, LM.table[token])
    assert {"drama", "horror", "comedy", "hobby", "liked"} <= set(WORDS.words)
    assert len(LM.encode(" unheard")) > 1
    assert "unheard" not in WORDS.words


def test_words_are_ordered_by_cosine() -> None:
    """Against a loop over the words, whatever the vector's length."""
    vector = torch.randn(32, generator=torch.Generator().manual_seed(1))
    cosines = {
        word: float(vector @ row / vector.norm() / row.norm())
        for word, row in zip(WORDS.words, WORDS.embeddings, strict=True)
    }
    expected = sorted(cosines, key=lambda word: -cosines[word])[:5]
    one, other = nearest_words(WORDS, torch.stack([vector, 9 * vector]), ["a", "b"], most=5)
    assert [near.word for near in one.words] == expected == [near.word for near in other.words]
    assert [near.cosine for near in one.words] == pytest.approx([cosines[word] for word in expected], abs=1e-6)


def test_a_vector_that_is_a_word_is_nearer_than_chance() -> None:
    """The embedding of a word, with some noise: that word comes first, and no random vector is as near to any."""
    noise = torch.randn(32, generator=torch.Generator().manual_seed(2))
    (found,) = nearest_words(WORDS, (_embedding("drama") + 0.02 * noise)[None], ["code 0"], draws=199)
    assert found.words[0].word == "drama"
    assert _p(found, "words") == 1 / 200


def test_random_vectors_are_as_near_as_chance() -> None:
    """The p of 300 vectors drawn from the words' own mean and covariance is uniform: no theatre."""
    points = WORDS.embeddings.double().numpy()
    drawn = np.random.default_rng(3).multivariate_normal(points.mean(0), np.cov(points.T, bias=True), size=300)
    found = nearest_words(WORDS, torch.from_numpy(drawn).float(), [str(n) for n in range(300)], draws=999)
    assert kstest([_p(one, "words") for one in found], "uniform").pvalue > 0.01
    assert all(chance.adjusted == min(1, 300 * chance.p) for one in found for chance in one.chances)


def test_where_every_profile_is_at_a_word_a_code_there_is_no_surprise() -> None:
    """Nearer than a random word-like vector, but not than a random profile: the second p says so."""
    noise = torch.randn(500, 32, generator=torch.Generator().manual_seed(4))
    profiles = _embedding("horror") + 0.03 * noise
    (found,) = nearest_words(WORDS, profiles[:1], ["code"], profiles=profiles[1:], draws=199)
    assert _p(found, "words") <= 0.01
    assert _p(found, "profiles") > 0.05


def test_names_and_vectors_go_together() -> None:
    """Another number of names than of vectors is an error, not a shorter list."""
    with pytest.raises(ValueError, match="2 names for 1 vectors"):
        nearest_words(WORDS, WORDS.embeddings[:1], ["a", "b"])
