"""What an item reads like:  " {title}, {attribute}, {attribute}:" + " liked" | " disliked"."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.training.crossfit.histories import Ints

LIKED: Final = " liked"
DISLIKED: Final = " disliked"
Encode = Callable[[str], list[int]]


def item_strings(items: pl.DataFrame, attributes: Sequence[str]) -> list[str]:
    """One line per catalogue row: title, then the values of its attributes."""
    columns = [items["title"].to_list()] + [items[name].to_list() for name in attributes]
    lines = []
    for title, *values in zip(*columns, strict=True):
        words = [word for value in values if value for word in value.split("|")]
        lines.append(" " + ", ".join([title, *words]))
    return lines


@dataclass(frozen=True, eq=False)
class ItemTexts:
    """Tokens of every item under both polarities: index 1 liked, 0 disliked.

    tokens int64 [2, I, L]; weight float32 [2, I, L], of every token in the likelihood; length int64 [2, I]
    polar  bool [2, I, L], True on the tokens that say liked or disliked
    """

    tokens: Ints
    weight: NDArray[np.float32]
    length: Ints
    polar: NDArray[np.bool_]


def build_item_texts(
    lines: Sequence[str],
    encode: Encode,
    *,
    item_tokens: int,
    polarity: bool,
    title_weight: float,
    polarity_weight: float,
) -> ItemTexts:
    """Tokenize the catalogue once. An item's text is cut to `item_tokens`; the polarity stands behind it."""
    endings = [encode(":" + word) if polarity else [] for word in (DISLIKED, LIKED)]
    colon = encode(":") if polarity else []
    # The polarity tokens are what follows the part that both endings share.
    shared = len(colon) if all(ending[: len(colon)] == colon for ending in endings) else 0
    texts = [encode(line)[:item_tokens] for line in lines]
    longest = max(map(len, texts), default=0) + max(map(len, endings))
    tokens = np.zeros((2, len(texts), longest), dtype=np.int64)
    weight = np.zeros((2, len(texts), longest), dtype=np.float32)
    polar = np.zeros((2, len(texts), longest), dtype=np.bool_)
    length = np.zeros((2, len(texts)), dtype=np.int64)
    for side, ending in enumerate(endings):
        for row, text in enumerate(texts):
            whole = text + ending
            body = len(text) + shared
            tokens[side, row, : len(whole)] = whole
            weight[side, row, :body] = title_weight
            weight[side, row, body : len(whole)] = polarity_weight
            polar[side, row, body : len(whole)] = True
            length[side, row] = len(whole)
    return ItemTexts(tokens, weight, length, polar)
