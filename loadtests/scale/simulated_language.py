"""A language model of the default size with random weights, a made-up catalogue, and histories of real lengths.

What a model knows does not change how fast it runs.
"""

import numpy as np
import polars as pl

from userip.training.config import TrainConfig
from userip.training.crossfit.histories import Histories
from userip.training.language.frozen import FrozenLM, torch_dtype
from userip.training.language.language import Language
from userip.training.language.pretrain import new_model
from userip.training.language.prompt_builder import PromptBuilder, tokenizer_texts
from userip.training.language.slot_initializer import SlotInitializer
from userip.training.language.tokenizer import train_tokenizer

ATTRIBUTES = ("kind", "country", "year")
SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]


def simulated_catalogue(items: int, seed: int) -> pl.DataFrame:
    """Titles of two to six made-up words, of which a few are frequent and most are rare, and three attributes."""
    draw = np.random.default_rng(seed)
    words = ["".join(draw.choice(SYLLABLES, draw.integers(2, 5))) for _ in range(4000)]
    share = 1.0 / (10.0 + np.arange(len(words)))
    lengths = draw.integers(2, 7, items)
    drawn = draw.choice(len(words), lengths.sum(), p=share / share.sum())
    ends = np.cumsum(lengths)
    return pl.DataFrame(
        {
            "item_id": [f"item-{row:06d}" for row in range(items)],
            "title": [" ".join(words[w] for w in drawn[end - n : end]) for end, n in zip(ends, lengths, strict=True)],
            "kind": [words[k] for k in draw.integers(0, 12, items)],
            "country": [words[k] for k in draw.integers(100, 130, items)],
            "year": [str(year) for year in draw.integers(1960, 2020, items)],
        }
    )


def simulated_histories(users: int, items: int, seed: int) -> Histories:
    """Lengths as on the small public sets: log-normal, half of the users under 11 interactions, at least 3."""
    draw = np.random.default_rng([seed, 1])
    lengths = np.clip(np.exp(draw.normal(np.log(11.0), 0.6, users)).astype(np.int64), 3, 128)
    drawn = draw.integers(0, items, int(lengths.sum()))
    return Histories(np.concatenate([[0], np.cumsum(lengths)]), drawn, draw.random(len(drawn)) < 0.6)


def simulated_language(config: TrainConfig, seed: int, items: int = 3000) -> Language:
    """What RUN/language holds, untrained."""
    catalogue = simulated_catalogue(items, seed)
    tokenizer = train_tokenizer(
        tokenizer_texts(catalogue, ATTRIBUTES, config.facets, config.history), config.language.vocabulary
    )
    model = new_model(config.language, tokenizer, seed)
    model.to(torch_dtype(config.language.dtype))  # type: ignore[arg-type]  # transformers wraps it untyped
    lm = FrozenLM.of(model, tokenizer)
    reader = PromptBuilder(catalogue, ATTRIBUTES, lm.encode, lm.bos, config.facets, config.history)
    some = simulated_histories(1000, items, seed)
    return Language(lm, reader, SlotInitializer.fit(config.facets, catalogue, ATTRIBUTES, lm.encode, some))
