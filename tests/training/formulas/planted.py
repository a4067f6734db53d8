"""Data sets of which it is known what moves likes."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.training.data.dataset import Dataset, DatasetInfo, split_hash_of
from userip.training.data.storage import write_dataset

GENRES = 6


def planted_set(
    out: Path,
    *,
    ease: float = 0.0,
    generosity: float = 0.0,
    genre_taste: float = 0.0,
    hidden_taste: float = 0.0,
    users: int = 400,
    items: int = 60,
    per_user: int = 30,
) -> Dataset:
    """Standard deviations of the terms of  logit = ease_i + generosity_u + <genre_i, w_u> + h_i t_u,  the last hidden.

    A third of the users is held out whole. The ratings are the labels, as 1 and 5, with no more to learn from.
    """
    rng = np.random.default_rng(11)
    genre, hidden = rng.integers(GENRES, size=items), rng.choice([-1.0, 1.0], size=items)
    easy, generous = ease * rng.normal(size=items), generosity * rng.normal(size=users)
    taste, other = genre_taste * rng.normal(size=(users, GENRES)), hidden_taste * rng.normal(size=users)
    user = np.repeat(np.arange(users), per_user)
    item = np.concatenate([rng.choice(items, per_user, replace=False) for _ in range(users)])
    logit = easy[item] + generous[user] + taste[user, genre[item]] + hidden[item] * other[user]
    liked = rng.random(len(logit)) < 1 / (1 + np.exp(-logit))
    rows = pl.DataFrame(
        {
            "user_id": [f"u{one:04}" for one in user],
            "item_id": [f"i{one:03}" for one in item],
            "label": liked,
            "rating": np.where(liked, 5.0, 1.0).astype(np.float32),
            "timestamp": np.arange(len(user)),
            "split": _parts(user, rng),
        }
    )
    catalogue = pl.DataFrame(
        {
            "item_id": [f"i{one:03}" for one in range(items)],
            "title": [f"Film {one}" for one in range(items)],
            "genre": [f"g{one}" for one in genre],
        }
    )
    info = DatasetInfo(
        name="planted", format_version=1, sources={}, files={}, positive_above=3.0, min_interactions=1, split="users",
        seed=0, counts={}, attributes=("genre",), split_hash=split_hash_of(rows, "users", 0, catalogue, (), ("genre",)),
    )  # fmt: skip
    return write_dataset(out, info, rows, catalogue)


def _parts(user: NDArray[np.int64], rng: np.random.Generator) -> list[str]:
    held = {0: "test", 3: "valid"}
    names = [held.get(one % 6, "train") for one in user.tolist()]
    return ["history" if name != "train" and rng.random() < 0.6 else name for name in names]
