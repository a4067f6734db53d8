"""From what a reader found to a data set: clean, label, split, account for every row, write."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from userip.release.manifest import sha256_of
from userip.training.data.cleaning import core, deduplicate, label
from userip.training.data.dataset import (
    FORMAT_VERSION,
    INTERACTION_COLUMNS,
    PARTS,
    Dataset,
    DatasetInfo,
    Split,
    split_hash_of,
)
from userip.training.data.raw import RawData, RowReport
from userip.training.data.splits import add_split
from userip.training.data.storage import write_dataset
from userip.training.errors import ConfigError, EmptyDataError


class BuildConfig(BaseModel):
    """How a data set is made of raw interactions. `positive_above` None: the format's own threshold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    split: Split = "random"
    seed: Annotated[int, Field(ge=0)] = 0
    min_interactions: Annotated[int, Field(ge=1)] = 4
    positive_above: Annotated[float, Field(allow_inf_nan=False)] | None = None


def build_dataset(
    raw: RawData, report: RowReport, out: Path, config: BuildConfig, planted: pl.DataFrame | None = None
) -> Dataset:
    """Clean, label and split `raw`, write it to `out` and open the result.

    Raises EmptyDataError where a step leaves nothing to train on, ConfigError without a usable threshold.
    """
    threshold = _threshold(raw, config)
    found = raw.interactions
    if found.is_empty():
        raise EmptyDataError(f"{raw.sources[0]}: no interactions found")
    single = deduplicate(found)
    cored = core(single, config.min_interactions)
    if cored.is_empty():
        raise EmptyDataError(
            f"no interactions left of {single.height:,} after dropping users and items with fewer "
            f"than {config.min_interactions}; give more data or a lower --min-interactions"
        )
    labelled = label(cored, threshold)
    _refuse_one_class(labelled, threshold)
    columns = [field.name for field in raw.fields if field.role != "item"]
    split = add_split(_constant_per_user(labelled, raw), config.split, config.seed)
    rows = split.select(
        *(pl.col(name).cast(kind) for name, kind in INTERACTION_COLUMNS.items()),
        *(_words(name) for name in columns),
    )
    items, repeated, nameless = _catalogue(raw.items, rows)
    counts = _counts(rows, items) | {
        "rows_read": found.height + report.total_bad,
        "bad_rows": report.total_bad,
        "duplicates": found.height - single.height,
        "below_min_interactions": single.height - cored.height,
        "in_no_part": labelled.height - split.height,
        "repeated_items": repeated,
        "items_without_title": nameless,
    }
    info = DatasetInfo(
        name=config.name,
        format_version=FORMAT_VERSION,
        sources=_hashes(raw.sources),
        files={},
        positive_above=threshold,
        min_interactions=config.min_interactions,
        split=config.split,
        seed=config.seed,
        counts=counts,
        fields=raw.fields,
        attributes=raw.attributes,
        split_hash=split_hash_of(rows, config.split, config.seed, items, raw.fields, raw.attributes),
    )
    if planted is not None:
        planted = planted.join(rows.select("user_id").unique(), on="user_id", how="semi").sort("user_id")
    return write_dataset(out, info, rows, items, planted)


def _hashes(sources: tuple[Path, ...]) -> dict[str, str]:
    """sha256 by file name; files of the same name are told apart by their folder's."""
    names = Counter(path.name for path in sources)
    return {
        path.name if names[path.name] == 1 else f"{path.resolve().parent.name}/{path.name}": sha256_of(path)
        for path in sources
    }


def _threshold(raw: RawData, config: BuildConfig) -> float | None:
    stated = "label" in raw.interactions.columns
    if config.positive_above is None:
        if raw.positive_above is None and not stated:
            raise ConfigError("no threshold for positive ratings; give --positive-above R (label = rating > R)")
        return None if stated else raw.positive_above
    if stated:
        raise ConfigError("--positive-above: the source has labels; to compute them from ratings, give --rating-column")
    return config.positive_above


def _refuse_one_class(labelled: pl.DataFrame, threshold: float | None) -> None:
    positives = int(labelled["label"].sum())
    if 0 < positives < labelled.height:
        return
    kind = "positive" if positives else "negative"
    ratings = labelled["rating"].drop_nulls()
    cause = "check --label-column"
    if threshold is not None:
        low, high = ratings.to_numpy().min(), ratings.to_numpy().max()
        cause = f"ratings run from {low:g} to {high:g}: choose another --positive-above than {threshold:g}"
    raise EmptyDataError(f"all {labelled.height:,} interactions are {kind}, so there is nothing to learn; {cause}")


def _constant_per_user(rows: pl.DataFrame, raw: RawData) -> pl.DataFrame:
    """Give every user their latest known value of each user field. `rows` come sorted by time."""
    names = [field.name for field in raw.fields if field.role == "user"]
    return rows.with_columns(pl.col(name).drop_nulls().last().over("user_id") for name in names)


def _catalogue(catalogue: pl.DataFrame, rows: pl.DataFrame) -> tuple[pl.DataFrame, int, int]:
    """The items that rows mention; how many ids repeated (the last stays), how many items lack a title."""
    single = catalogue.unique("item_id", keep="last", maintain_order=True)
    used = rows.select("item_id").unique().sort("item_id")
    named = used.join(single, on="item_id", how="left", maintain_order="left").with_columns(
        _words(name) for name in single.columns if name != "item_id"
    )
    items = named.with_columns(title=pl.coalesce("title", "item_id"))
    ordered = ["item_id", "title", *(name for name in items.columns if name not in ("item_id", "title"))]
    return items.select(ordered), catalogue.height - single.height, named["title"].null_count()


def _words(column: str) -> pl.Expr:
    """The str column with single spaces between its words and none around; empty becomes null."""
    stripped = pl.col(column).cast(pl.String).str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.when(stripped != "").then(stripped).alias(column)


def _counts(rows: pl.DataFrame, items: pl.DataFrame) -> dict[str, int]:
    train = rows.filter(pl.col("split") == "train")
    sizes = dict(rows.group_by("split").len().iter_rows())
    users = rows["user_id"].n_unique()
    return {
        "users": users,
        "items": items.height,
        "interactions": rows.height,
        "positives": int(rows["label"].sum()),
        **{part: sizes.get(part, 0) for part in PARTS},
        "users_without_train": users - train["user_id"].n_unique(),
        "items_without_train": items.height - train["item_id"].n_unique(),
    }
