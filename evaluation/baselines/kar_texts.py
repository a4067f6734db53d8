"""The texts of users and items for the text encoder (docs/method.md#kar-baseline): a template replaces KAR's LLM.

A user reads like

    This user likes most of what they rate. Likes Drama, Comedy. Dislikes Horror.
    Liked: The Kid (1921), Comedy, Drama; .. Disliked: Nosferatu (1922), Horror; ..

the newest first, and an item like  "The Kid (1921). genres: Comedy, Drama. decade: 1920s."  An item's text holds
no label: its rate of likes is for the network to learn, as that of every item id.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from userip.training.crossfit.histories import Histories

SHARES: Final = (
    (0.1, "almost nothing"),
    (0.3, "little"),
    (0.5, "less than half"),
    (0.7, "more than half"),
    (0.9, "most"),
    (2.0, "almost everything"),
)
TASTES: Final = 5  # values named under "Likes", and under "Dislikes"


@dataclass(frozen=True)
class ItemWords:
    """What user texts say of an item: `name`, its title with the first attribute's values, and its `values`."""

    name: str
    values: tuple[str, ...]


def item_texts(items: pl.DataFrame, attributes: Sequence[str]) -> list[str]:
    """One text per catalogue row: the title, then every attribute that has a value."""
    columns = [items[name].to_list() for name in attributes]
    texts = []
    for row, title in enumerate(items["title"]):
        said = [
            f"{name}: {', '.join(column[row].split('|'))}."
            for name, column in zip(attributes, columns, strict=True)
            if column[row]
        ]
        texts.append(" ".join([f"{title}.", *said]))
    return texts


def item_words(items: pl.DataFrame, attributes: Sequence[str], taste_attributes: int = 3) -> list[ItemWords]:
    """Per catalogue row what user texts need of it; tastes are taken from the first attributes."""
    columns = [items[name].to_list() for name in attributes[:taste_attributes]]
    words = []
    for row, title in enumerate(items["title"]):
        cells = [column[row].split("|") if column[row] else [] for column in columns]
        name = ", ".join([title, *(cells[0] if cells else [])])
        words.append(ItemWords(name, tuple(value for cell in cells for value in cell)))
    return words


def user_texts(histories: Histories, words: Sequence[ItemWords], budget: int) -> list[str]:
    """One text per user, "" for an empty history. At most `budget` characters of it are titles, newest first."""
    texts = []
    for begin, end in zip(histories.offsets[:-1], histories.offsets[1:], strict=True):
        rows = zip(histories.items[begin:end][::-1], histories.liked[begin:end][::-1], strict=True)
        seen = [(words[item], bool(liked)) for item, liked in rows]
        texts.append(_user_text(seen, budget) if seen else "")
    return texts


def _user_text(seen: Sequence[tuple[ItemWords, bool]], budget: int) -> str:
    share = sum(liked for _, liked in seen) / len(seen)
    parts = [f"This user likes {next(word for limit, word in SHARES if share < limit)} of what they rate."]
    parts += _tastes(seen)
    liked, disliked = ([item.name for item, mine in seen if mine is side] for side in (True, False))
    for word, names in zip(("Liked", "Disliked"), _cut(liked, disliked, budget), strict=True):
        if names:
            parts.append(f"{word}: {'; '.join(names)}.")
    return " ".join(parts)


def _tastes(seen: Sequence[tuple[ItemWords, bool]]) -> list[str]:
    """The values that are liked more often than disliked, and the other way round, the clearest first."""
    balance: Counter[str] = Counter()
    for item, liked in seen:
        for value in item.values:
            balance[value] += 1 if liked else -1
    parts = []
    for word, sign in (("Likes", 1), ("Dislikes", -1)):
        clear = sorted((-sign * count, value) for value, count in balance.items() if sign * count > 0)
        if clear:
            parts.append(f"{word} {', '.join(value for _, value in clear[:TASTES])}.")
    return parts


def _cut(liked: list[str], disliked: list[str], budget: int) -> tuple[list[str], list[str]]:
    """Both lists within the budget. The shorter one may take half of it, the longer one what is left."""
    sides = [liked, disliked]
    sides.sort(key=lambda names: sum(map(len, names)))
    short = _within(sides[0], budget // 2)
    long = _within(sides[1], budget - sum(map(len, short)))
    return (short, long) if sides[0] is liked else (long, short)


def _within(names: Sequence[str], room: int) -> list[str]:
    """The first names that fit; the very first one always does."""
    kept: list[str] = []
    for name in names:
        room -= len(name)
        if kept and room < 0:
            break
        kept.append(name)
    return kept
