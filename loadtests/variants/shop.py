"""Users, items and fields that the variants share: those of a data set directory, or made up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from torch import nn

from userip.release.manifest import Source
from userip.training.data.dataset import Dataset
from userip.training.export.tables import Catalogue, catalogue_of, profiles_of
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.encoder import EncodedField, FieldEncoder
from userip.training.recommender.fit import FittedRecommender

CATEGORIES: Final = {"genre": 24, "price": 5}  # the item fields of a synthetic shop
_FIRST: Final = ("user_row", "item_row", "item")


@dataclass(frozen=True)
class Shop:
    """What all variants know.

    name       says where it comes from; the same name means the same shop
    dataset    what a manifest says of it
    encoder    the fields without codes
    catalogue  the items, and what their rows are in the item fields
    profiles   a line per user, without codes: user_id, row, then the user fields
    seed       that random codes are drawn with
    """

    name: str
    dataset: Mapping[str, Any]
    encoder: FieldEncoder
    catalogue: Catalogue
    profiles: pl.DataFrame
    seed: int

    @property
    def users(self) -> int:
        """How many users have a record."""
        return self.profiles.height

    def with_codes(self, sizes: Mapping[str, int]) -> FieldEncoder:
        """The fields, with one for each facet."""
        fields = self.encoder.fields
        place = sum(field.source in _FIRST for field in fields)
        codes = tuple(EncodedField(name=name, source="code", codes=size) for name, size in sorted(sizes.items()))
        return self.encoder.model_copy(update={"fields": (*fields[:place], *codes, *fields[place:])})

    def profiles_with_codes(self, sizes: Mapping[str, int]) -> pl.DataFrame:
        """The profiles, with a random code of each facet: user_id, row, codes, user fields."""
        rng = np.random.default_rng([self.seed, 1])
        codes = [pl.Series(name, rng.integers(0, size, self.users), pl.UInt16) for name, size in sorted(sizes.items())]
        fields = [name for name in self.profiles.columns if name not in ("user_id", "row")]
        return self.profiles.with_columns(codes).select("user_id", "row", *sorted(sizes), *fields)


def synthetic_shop(users: int, items: int, seed: int) -> Shop:
    """So many users and items, all of them known to the network, with two item fields."""
    rng = np.random.default_rng([seed, 0])
    user_ids, item_ids = _ids("user", users), _ids("item", items)
    categories = [_field(name, _ids(name, size), "item") for name, size in CATEGORIES.items()]
    encoder = FieldEncoder(
        split_hash="synthetic",
        fields=(_field("user_id", user_ids, "user_row"), _field("item_id", item_ids, "item_row"), *categories),
    )
    rows = [np.arange(1, items + 1), *(rng.integers(1, size + 1, items) for size in CATEGORIES.values())]
    lines = np.stack(rows, axis=1).astype(np.int64)
    profiles = {"user_id": user_ids, "row": pl.Series(np.arange(1, users + 1), dtype=pl.UInt32)}
    return Shop(
        name=f"synthetic-{users}-{items}-{seed}",
        dataset={"name": "synthetic", "counts": {"users": users, "items": items}, "seed": seed},
        encoder=encoder,
        catalogue=Catalogue(item_ids, np.concatenate([np.zeros_like(lines[:1]), lines])),
        profiles=pl.DataFrame(profiles),
        seed=seed,
    )


def dataset_shop(directory: Path, seed: int) -> Shop:
    """Users, items and fields of a data set directory, as training would encode them. Raises DataError."""
    dataset = Dataset.open(directory)
    encoder = FieldEncoder.fit(dataset, {}, user_field=True)
    unfitted = FittedRecommender(nn.Identity(), encoder, None, RecommenderConfig(codes="none"), dataset, seed, ())
    return Shop(
        name=f"{dataset.name}-{dataset.split_hash}",
        dataset=dataset.info.model_dump(mode="json", include={"name", "split", "split_hash", "counts"}),
        encoder=encoder,
        catalogue=catalogue_of(unfitted),
        profiles=profiles_of(unfitted),
        seed=seed,
    )


def _field(name: str, values: tuple[str, ...], source: Source) -> EncodedField:
    return EncodedField(name=name, source=source, values=values)


def _ids(kind: str, count: int) -> tuple[str, ...]:
    width = len(str(count - 1))
    return tuple(f"{kind}-{number:0{width}d}" for number in range(count))
