"""Tiny language models with random weights, a tokenizer, a catalogue and histories, built here: nothing is fetched."""

from functools import cache
from typing import Any

import numpy as np
import polars as pl
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from userip.training.crossfit.histories import Histories
from userip.training.language.config import FacetConfig, HistoryConfig
from userip.training.language.frozen import FrozenLM
from userip.training.language.language import Language
from userip.training.language.prompt_builder import PromptBuilder, tokenizer_texts
from userip.training.language.slot_initializer import SlotInitializer
from userip.training.language.tokenizer import train_tokenizer

KINDS = ("gpt2", "llama")
WIDTH = 32
FACETS = (
    FacetConfig(name="hobby", phrase="This user's hobby is", filler="attributes", size=4),
    FacetConfig(name="background", phrase=" The user's background is", filler="generosity", size=3),
)
ATTRIBUTES = ("kind", "shelf")
WORDS = ("river", "stone", "cloud", "forest", "harbour", "lantern")


def catalogue(items: int = 12) -> pl.DataFrame:
    """Item n is of kind n mod 3, with a title of one to three words."""
    return pl.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(items)],
            "title": [" ".join(WORDS[n % 6 : n % 6 + 1 + n % 3]) + f" {n}" for n in range(items)],
            "kind": [("drama", "horror", "comedy")[n % 3] for n in range(items)],
            "shelf": [("new|cheap", "old", None, "new")[n % 4] for n in range(items)],
        }
    )


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer that the language step would train on the catalogue."""
    return train_tokenizer(tokenizer_texts(catalogue(), ATTRIBUTES, FACETS, HistoryConfig()), 420)


def frozen_lm(
    kind: str, attention: str = "eager", dtype: torch.dtype = torch.float32, spread: float = 0.2, positions: int = 256
) -> FrozenLM:
    """Two layers of width 32 with random weights, the same in every call; `spread` large enough to attend."""
    torch.manual_seed(3)
    vocabulary = len(tokenizer())
    shared: dict[str, Any] = {
        "vocab_size": vocabulary,
        "initializer_range": spread,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "attn_implementation": attention,
    }
    model: GPT2LMHeadModel | LlamaForCausalLM
    if kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(n_positions=positions, n_embd=WIDTH, n_layer=2, n_head=4, **shared))
    else:
        shape = LlamaConfig(
            hidden_size=WIDTH,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=positions,
            **shared,
        )
        model = LlamaForCausalLM(shape)
    return FrozenLM.of(model.to(dtype), tokenizer())  # type: ignore[arg-type]


def reader_of(lm: FrozenLM, *, factorised: bool = True, soft_tokens: int = 1, **history: Any) -> PromptBuilder:  # noqa: ANN401
    """The reader of the tiny catalogue for `lm`."""
    settings = HistoryConfig(factorised=factorised, **history)
    return PromptBuilder(catalogue(), ATTRIBUTES, lm.encode, lm.bos, FACETS, settings, soft_tokens)


def language_of(lm: FrozenLM, *, factorised: bool = True, soft_tokens: int = 1, **history: Any) -> Language:  # noqa: ANN401
    """`lm` with its reader and slot words that have seen nobody."""
    prompts = reader_of(lm, factorised=factorised, soft_tokens=soft_tokens, **history)
    words = SlotInitializer.fit(FACETS, prompts.items, ATTRIBUTES, lm.encode, histories([]))
    return Language(lm, prompts, words)


def histories(*users: list[int]) -> Histories:
    """One list per user: n for a liked item n, ~n for a disliked one."""
    flat = [value for user in users for value in user]
    return Histories(
        np.cumsum([0, *map(len, users)]).astype(np.int64),
        np.array([value if value >= 0 else ~value for value in flat], dtype=np.int64),
        np.array([value >= 0 for value in flat], dtype=np.bool_),
    )


def random_histories(users: int, longest: int, seed: int, shortest: int = 0) -> Histories:
    """Histories of random lengths."""
    draw = np.random.default_rng(seed)
    lists = []
    for _ in range(users):
        items = draw.choice(12, size=int(draw.integers(shortest, longest + 1)), replace=False)
        lists.append([int(n) if draw.random() < 0.6 else ~int(n) for n in items])
    return histories(*lists)


def soft_prompts(users: int, facets: int = 2, soft_tokens: int = 1, seed: int = 0) -> torch.Tensor:
    """Random z float32 [users, facets, soft_tokens, width], a fifth of a unit long in every dimension."""
    generator = torch.Generator().manual_seed(seed)
    return 0.2 * torch.randn(users, facets, soft_tokens, WIDTH, generator=generator)
