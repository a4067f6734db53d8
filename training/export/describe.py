"""What a code stands for, in words and items that its users over-represent. Nothing is picked by hand.

Every user has one vote, however many rows: for a word, the share of the user's liked train items that carry
it; for an item, whether the user likes it. A word describes a code when its users have more of it than the
users of the other codes, by a two-sample z score with the pooled variance. Users, not rows, are what was
drawn: the rows of one user are alike, and a test over rows would find words for random codes as well. Words
are ordered by the score. Those below the Bonferroni threshold of `alpha` over all words tried are not
shown, so a code that stands for nothing has an empty description. A lift is against all users, with
`smoothing` users of the base rate added.

The last entry of a description says how much the code's users like of what they rate, where that stands out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import polars as pl

from userip.bank.record import UNKNOWN_CODE
from userip.release.manifest import CodeDescription, ItemLift
from userip.training.crossfit.views import FULL
from userip.training.data.dataset import SEPARATOR, Dataset
from userip.training.export.config import ExportConfig
from userip.training.recommender.codes import CodeTable

_WORD = re.compile(r"[^\W\d_]{3,}")  # a word of a title: three letters or more, no digits


@dataclass(frozen=True)
class Votes:
    """What train users like: one line per user and key (word or item), value in (0, 1], absent = 0."""

    words: pl.DataFrame
    items: pl.DataFrame
    likes: pl.DataFrame  # user_id, value = share of the user's train rows with a positive label


def collect_votes(dataset: Dataset) -> Votes:
    """Votes of all users with train rows."""
    rows = dataset.rows("train").select("user_id", "item_id", "label")
    liked = rows.filter("label").select("user_id", "item_id")
    counts = liked.group_by("user_id").len("n")
    words = (
        liked.join(_item_words(dataset), on="item_id")
        .group_by("user_id", "key")
        .len("times")
        .join(counts, on="user_id")
        .select("user_id", "key", value=pl.col("times") / pl.col("n"))
    )
    items = liked.select("user_id", key="item_id", value=pl.lit(1.0))
    likes = rows.group_by("user_id").agg(value=pl.col("label").mean())
    return Votes(words, items, likes)


def describe(
    dataset: Dataset, votes: Votes, codes: CodeTable, facet: str, config: ExportConfig, said: Sequence[str] = ()
) -> tuple[CodeDescription, ...]:
    """One description per code of the facet, in code order; what the method says of it itself, `said`, comes first."""
    known = codes.frame.filter((pl.col("fold") == FULL) & (pl.col(facet) != UNKNOWN_CODE))
    members = known.select("user_id", code=pl.col(facet)).join(votes.likes.select("user_id"), on="user_id", how="semi")
    titles = dict(dataset.items.select("item_id", "title").iter_rows())
    spelling = dict(_spelling(dataset).iter_rows())
    words = _over_represented(votes.words, members, config, config.words)
    items = _over_represented(votes.items, members, config, config.items)
    liking = _liking(votes.likes, members, config)
    own = [(text,) if text else () for text in said] or [()] * codes.sizes[facet]
    return tuple(
        CodeDescription(
            description=(*own[code], *(spelling[key] for key, _ in words.get(code, ())), *liking.get(code, ())),
            items=tuple(
                ItemLift(item_id=key, title=titles.get(key, key), lift=round(lift, 4))
                for key, lift in items.get(code, ())
            ),
            share=share,
        )
        for code, share in enumerate(codes.usage(facet))
    )


def _over_represented(
    votes: pl.DataFrame, members: pl.DataFrame, config: ExportConfig, limit: int
) -> dict[int, Sequence[tuple[str, float]]]:
    """Code -> (key, lift) of its most over-represented keys, the most significant first."""
    sizes = members.group_by("code").len("users")
    everybody = members.height
    sums = (
        votes.join(members, on="user_id")
        .group_by("code", "key")
        .agg(pl.col("value").sum(), (pl.col("value") ** 2).sum().alias("square"), pl.len().alias("support"))
        .sort("code", "key")  # sums over groups come in any order; what follows must not
    )
    totals = sums.group_by("key", maintain_order=True).agg(
        pl.col("value").sum().alias("all"),
        pl.col("square").sum().alias("all_squares"),
        pl.col("support").sum(),
    )
    tried = totals.filter(pl.col("support") >= config.min_users).height
    threshold = NormalDist().inv_cdf(1 - config.alpha / max(tried, 1))
    rest = everybody - pl.col("users")
    base = pl.col("all") / everybody
    spread = (pl.col("all_squares") / everybody - base**2) * (1 / pl.col("users") + 1 / rest)
    difference = pl.col("value") / pl.col("users") - (pl.col("all") - pl.col("value")) / rest
    smooth = (pl.col("value") + config.smoothing * base) / (pl.col("users") + config.smoothing)
    found = (
        sums.filter(pl.col("support") >= config.min_users)
        .join(totals.drop("support"), on="key")
        .join(sizes, on="code")
        .filter(rest > 0)
        .select("code", "key", score=(difference / spread.sqrt()).round(6), lift=smooth / base)
        .filter((pl.col("score") > threshold) & (pl.col("lift") > 1))
        .sort(["code", "score", "key"], descending=[False, True, False])
    )
    best: dict[int, list[tuple[str, float]]] = {}
    for code, key, lift in found.select("code", "key", "lift").iter_rows():
        if len(best.setdefault(code, [])) < limit:
            best[code].append((key, lift))
    return dict(best)


def _liking(likes: pl.DataFrame, members: pl.DataFrame, config: ExportConfig) -> dict[int, tuple[str, ...]]:
    """Code -> how much of what they rate its users like, where that differs significantly from the others."""
    joined = likes.join(members, on="user_id").sort("user_id")
    if joined.is_empty():
        return {}
    everybody = joined.height
    value = joined["value"].to_numpy()
    base, variance = float(value.mean()), float(value.var())
    groups = joined.group_by("code").agg(pl.col("value").mean(), pl.len().alias("users")).sort("code")
    threshold = NormalDist().inv_cdf(1 - config.alpha / 2 / max(groups.height, 1))
    said: dict[int, tuple[str, ...]] = {}
    for code, mean, users in groups.iter_rows():
        rest = everybody - users
        if not rest or variance <= 0 or users < config.min_users:
            continue
        others = (base * everybody - mean * users) / rest
        score = (mean - others) / (variance * (1 / users + 1 / rest)) ** 0.5
        if abs(score) > threshold:
            said[code] = (f"likes {mean:.0%} of what they rate (all users: {base:.0%})",)
    return said


def _item_words(dataset: Dataset) -> pl.DataFrame:
    """item_id, key: every word of every item once, in lower case."""
    return spelled(dataset).select("item_id", "key").unique()


def _spelling(dataset: Dataset) -> pl.DataFrame:
    """key, word: how a key is written in the catalogue; attributes before titles, then the alphabet."""
    return spelled(dataset).sort("rank", "word").group_by("key", maintain_order=True).agg(pl.col("word").first())


def spelled(dataset: Dataset) -> pl.DataFrame:
    """item_id, word, key, rank: the values of the attribute columns in their order, then title words."""
    names = [name for name in dataset.info.attributes if name in dataset.items.columns]
    pieces = [
        dataset.items.select("item_id", word=pl.col(name).cast(pl.String).str.split(SEPARATOR), rank=pl.lit(rank))
        for rank, name in enumerate(names)
    ]
    title_words = pl.col("title").str.extract_all(_WORD.pattern)
    pieces.append(dataset.items.select("item_id", word=title_words, rank=pl.lit(len(names))))
    return (
        pl.concat(pieces)
        .explode("word")
        .with_columns(pl.col("word").str.strip_chars())
        .filter(pl.col("word").is_not_null() & (pl.col("word") != ""))
        .with_columns(key=pl.col("word").str.to_lowercase())
    )
