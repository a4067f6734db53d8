"""The golden requests of a release: questions of every kind with torch's answers (`release.golden`)."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from userip.release.golden import Golden, GoldenRequest
from userip.training.recommender.fit import FittedRecommender

USERS: Final = 24  # of each kind: with a row of their own, and folded in
ITEMS: Final = 3  # known ones of a request, beside an unknown one
NOBODY: Final = "\x00nobody"
NOTHING: Final = "\x00nothing"


def golden_requests(fitted: FittedRecommender, profiles: pl.DataFrame, item_ids: Sequence[str]) -> Golden:
    """Evenly spaced users of each kind and two strangers, each with the context of a row of theirs.

    `profiles` is what the bank will hold (`profiles_of`), `item_ids` the release's items.
    """
    asked = _asked(fitted, profiles)
    sources = {field.name: field.source for field in fitted.encoder.fields}
    contexts = [name for name, source in sources.items() if source == "context"]
    slots = [name for name in profiles.columns if name not in ("user_id", "row")]
    spaced = [item_ids[place * len(item_ids) // asked.height] for place in range(asked.height)]
    candidates = [
        (*dict.fromkeys(spaced[place - step] for step in range(ITEMS)), NOTHING) for place in range(asked.height)
    ]
    pairs = asked.with_columns(item_id=pl.Series(candidates, dtype=pl.List(pl.String))).explode("item_id")
    answers = iter(fitted.predict(pairs).tolist())
    records = {row["user_id"]: row for row in profiles.iter_rows(named=True)}
    requests = []
    for line, items in zip(asked.iter_rows(named=True), candidates, strict=True):
        record = records.get(line["user_id"])
        requests.append(
            GoldenRequest(
                row=0 if record is None else record["row"],
                codes=None if record is None else tuple(record[name] for name in slots),
                items=items,
                context={name: line[name] for name in contexts if line[name] is not None},
                probabilities=tuple(next(answers) for _ in items),
            )
        )
    return Golden(requests=tuple(requests))


def _asked(fitted: FittedRecommender, profiles: pl.DataFrame) -> pl.DataFrame:
    """One line per request, with the user's own categories and a context: a column per field but the items'."""
    rows = fitted.dataset.rows("train", "history")
    users = [field.name for field in fitted.encoder.fields if field.source == "user"]
    contexts = [field.name for field in fitted.encoder.fields if field.source == "context"]
    own = rows.group_by("user_id").agg(
        *(pl.col(name).drop_nulls().first() for name in users), *(pl.col(name).first() for name in contexts)
    )
    kinds = [profiles.filter(pl.col("row") > 0), profiles.filter(pl.col("row") == 0)]
    known = pl.concat([kind.gather_every(max(kind.height // USERS, 1)).head(USERS) for kind in kinds])
    asked = known.select("user_id").join(own, on="user_id", how="left", maintain_order="left")
    nowhere = [pl.lit(None, pl.String).alias(name) for name in contexts]
    stranger = [pl.lit(NOBODY).alias("user_id"), *(pl.lit(None, pl.String).alias(name) for name in users)]
    first = asked.head(1)
    return pl.concat([asked, first.with_columns(*stranger), first.with_columns(*stranger, *nowhere)])
