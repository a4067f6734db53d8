"""What each code stands for: its users, what they like more often than all users do, and how they judge (Table 5).

Everything is read off train rows. The codes were inferred from the same rows, so this says what a code holds; that
it holds anything for rows it has not seen is for the recommender to show.

Items, attributes and title words are compared among users who like anything: an item counts as liked or not, a word
by the share of the user's liked items that carry it. Shown is what stands over 1 after Bonferroni's correction for
all candidates of all codes of the facet: a facet whose codes mean nothing shows anything with a chance of at most
`alpha`. Users of an active code like more items, and so more of each: read items beside `activity`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from userip.bank.record import UNKNOWN_CODE
from userip.evaluation.explain.lift import Lift, Sums, Z
from userip.reporting.blocks import Estimate
from userip.training.crossfit.views import FULL
from userip.training.data.dataset import Dataset
from userip.training.errors import DataError
from userip.training.export.describe import Votes, collect_votes, spelled
from userip.training.recommender.codes import CodeTable

ITEM, TITLE = "item", "title"


@dataclass(frozen=True)
class Judgement:
    """How a group of users rates: means over users, one value each, with 95 % intervals; None for fewer than two users.

    label     share of positive labels        activity  train rows
    polarity  label minus the item's mean label over all train rows: above 0 likes what others like less
    """

    label: Estimate | None
    activity: Estimate | None
    polarity: Estimate | None


@dataclass(frozen=True)
class CodeExplanation:
    """One code: its train users, and what stands out, the most certain first.

    `attributes` are values of the catalogue's descriptive columns, `words` words of titles.
    """

    code: int
    users: int
    judgement: Judgement
    items: tuple[Lift, ...]
    attributes: tuple[Lift, ...]
    words: tuple[Lift, ...]


@dataclass(frozen=True)
class FacetExplanation:
    """One facet. candidates: keys times codes in use, what p was multiplied by; everybody: all its users."""

    facet: str
    users: int
    candidates: int
    everybody: Judgement
    codes: tuple[CodeExplanation, ...]


def explain_codes(
    dataset: Dataset, codes: CodeTable, *, min_users: int = 10, alpha: float = 0.05, most: int = 8
) -> tuple[FacetExplanation, ...]:
    """Explain every code of every facet, from train rows.

    min_users: a key is a candidate when so many users vote for it, and shown when so many of the code do; alpha: chance
    that a facet without meaning shows anything; most: at most so many items, attributes and words each.
    Raises DataError where no user with a code has train rows.
    """
    votes = collect_votes(dataset)
    rates = _rates(dataset)
    names = _Names.of(dataset)
    found = []
    for facet, size in codes.sizes.items():
        known = codes.frame.filter((pl.col("fold") == FULL) & (pl.col(facet) != UNKNOWN_CODE))
        members = known.select("user_id", code=pl.col(facet)).join(rates, on="user_id", how="semi")
        if members.is_empty():
            raise DataError(
                f"codes: column {facet}: none of its users has train rows in {dataset.name}; "
                "the codes were made from another data set"
            )
        found.append(_explain(facet, size, votes, rates, names, members, min_users, alpha, most))
    return tuple(found)


def _explain(
    facet: str,
    size: int,
    votes: Votes,
    rates: pl.DataFrame,
    names: "_Names",
    members: pl.DataFrame,
    min_users: int,
    alpha: float,
    most: int,
) -> FacetExplanation:
    likers = members.join(votes.likes.filter(pl.col("value") > 0), on="user_id", how="semi")
    tables = [Sums.of(table, likers, size, min_users) for table in (votes.items, votes.words)]
    candidates = sum(len(table.keys) for table in tables) * int((tables[0].size > 0).sum())
    shown: list[dict[str, list[Lift]]] = [{ITEM: [], TITLE: [], "": []} for _ in range(size)]
    for table, items in zip(tables, (True, False), strict=True):
        for code, one in _standing_out(table, names, candidates, min_users, alpha, items=items):
            part = shown[code][one.kind if one.kind in (ITEM, TITLE) else ""]
            if len(part) < most:
                part.append(one)
    joined = rates.join(members, on="user_id").sort("user_id")
    return FacetExplanation(
        facet,
        members.height,
        candidates,
        _judgement(joined),
        tuple(
            CodeExplanation(
                code,
                (mine := joined.filter(pl.col("code") == code)).height,
                _judgement(mine),
                tuple(shown[code][ITEM]),
                tuple(shown[code][""]),
                tuple(shown[code][TITLE]),
            )
            for code in range(size)
        ),
    )


def _standing_out(
    table: Sums, names: "_Names", candidates: int, min_users: int, alpha: float, *, items: bool
) -> list[tuple[int, Lift]]:
    """(code, lift) of all that is significant, the most certain first."""
    if not table.keys:
        return []
    p = np.minimum(table.chance() * candidates, 1.0)
    lift, low, high = table.lift()
    at = np.argwhere((p <= alpha) & (low > 1) & (table.support >= min_users)).tolist()
    at.sort(key=lambda place: (p[*place], -lift[*place], place))
    made = []
    for code, column in at:
        key = table.keys[column]
        kind, name = (ITEM, names.titles.get(key, key)) if items else names.words[key]
        numbers = (float(grid[code, column]) for grid in (lift, low, high, p))
        made.append((code, Lift(kind, key, name, int(table.support[code, column]), *numbers)))
    return made


def _rates(dataset: Dataset) -> pl.DataFrame:
    """user_id, label, activity, polarity: f64, one line per train user."""
    rows = dataset.rows("train").select("user_id", "item_id", label=pl.col("label").cast(pl.Float64))
    surprise = pl.col("label") - pl.col("label").mean().over("item_id")
    return (
        rows.with_columns(polarity=surprise)
        .group_by("user_id")
        .agg(pl.col("label", "polarity").mean(), activity=pl.len().cast(pl.Float64))
        .sort("user_id")
    )


def _judgement(users: pl.DataFrame) -> Judgement:
    return Judgement(*(_mean(users[name].to_numpy()) for name in ("label", "activity", "polarity")))


def _mean(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Estimate | None:
    if len(values) < 2:
        return None
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    return Estimate(mean, mean - Z * error, mean + Z * error)


@dataclass(frozen=True, eq=False)
class _Names:
    """How keys are shown: item -> title, word -> (column, or "title"; spelling in the catalogue)."""

    titles: Mapping[str, str]
    words: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, dataset: Dataset) -> "_Names":
        columns = [name for name in dataset.info.attributes if name in dataset.items.columns]
        # A word that is both an attribute's value and in titles is an attribute.
        first = spelled(dataset).sort("rank", "word").unique("key", keep="first", maintain_order=True)
        kinds = [*columns, TITLE]
        words = {key: (kinds[rank], word) for key, rank, word in first.select("key", "rank", "word").iter_rows()}
        return cls(dict(dataset.items.select("item_id", "title").iter_rows()), words)
