"""What the demo asks of the service, and the answers in plain words beside the planted truth."""

from pathlib import Path
from typing import Final

import polars as pl

from userip.demo.service import DemoService
from userip.training.data.dataset import PLANTED, Dataset

EACH: Final = 4  # candidates of the planted hobby, and as many of other genres
STRANGER: Final = "somebody-new"


def tell(service: DemoService, data: Path) -> None:
    """Show a known user, their profile, an unknown user, a bad request, readiness and a metric."""
    dataset = Dataset.open(data)
    user, hobby, background = _somebody(dataset)
    candidates = _candidates(dataset, user, hobby)
    items = candidates["item_id"].to_list()
    print(f"\n   Is it ready?  GET /readyz -> {service.get('/readyz').body.decode()}")

    print(f"\n   {user} was simulated with hobby {hobby} and background {background}; the service does not know that.")
    print(f"   POST /score: {len(items)} items that {user} has not met; the most popular of {hobby}, and of the rest.")
    known = service.post("/score", {"user_id": user, "item_ids": items}).json
    stranger = service.post("/score", {"user_id": STRANGER, "item_ids": items}).json
    _table(candidates, known["scores"], stranger["scores"])
    print(
        f"   profile: {known['profile']!r} for {user}; {stranger['profile']!r} for {STRANGER}, whom the bank does not"
    )
    print("   know: scores for a user without a profile.")
    _compare(candidates, known["scores"], hobby)

    print(f"\n   GET /profile/{user}: the codes, with words for what their users like more often than others.")
    for code in service.get(f"/profile/{user}").json["codes"]:
        words = ", ".join(code["description"]) or "(nothing stands out)"
        print(f"   {code['facet']}: code {code['code']} of {code['codebook_size']}: {words}")

    print("\n   A bad request names the wrong field (RFC 9457):")
    bad = service.post("/score", {"user_id": user, "item_ids": items[0]})
    print(f"   POST /score, an item where a list belongs -> {bad.status} {bad.kind}\n   {bad.body.decode()}")

    print("\n   One line of GET /metrics, for Prometheus:")
    metrics = service.get("/metrics").body.decode().splitlines()
    print(f"   {next(line for line in metrics if line.startswith('userip_') and '/score' in line)}")


def _somebody(dataset: Dataset) -> tuple[str, str, str]:
    """The first user by id with a train history, and what was planted."""
    planted = pl.read_parquet(dataset.path / PLANTED)
    known = planted.join(dataset.rows("train"), on="user_id", how="semi").sort("user_id")
    user, hobby, background = known.select("user_id", "hobby", "background").row(0)
    return user, hobby, background


def _candidates(dataset: Dataset, user: str, hobby: str) -> pl.DataFrame:
    """Items that the user has no train row of, by popularity among train rows; of the hobby and of other genres."""
    train = dataset.rows("train")
    met = train.filter(pl.col("user_id") == user)
    popular = (
        train.group_by("item_id")
        .len()
        .join(met, on="item_id", how="anti")
        .join(dataset.items, on="item_id")
        .sort(["len", "item_id"], descending=[True, False])
    )
    own = pl.col("genre") == hobby
    return pl.concat([popular.filter(own).head(EACH), popular.filter(~own).head(EACH)])


def _table(candidates: pl.DataFrame, known: list[float], stranger: list[float]) -> None:
    print(f"   {'this user':>9}  {'stranger':>8}  item")
    rows = zip(known, stranger, candidates.select("title", "genre", "price").iter_rows(), strict=True)
    for score, other, (title, genre, price) in sorted(rows, key=lambda row: -row[0]):
        print(f"   {score:>9.2f}  {other:>8.2f}  {title} ({genre}, {price})")


def _compare(candidates: pl.DataFrame, scores: list[float], hobby: str) -> None:
    means = (
        candidates.with_columns(score=pl.Series(scores, dtype=pl.Float64), own=pl.col("genre") == hobby)
        .group_by("own")
        .agg(pl.col("score").mean())
    )
    mean = dict(means.select("own", "score").iter_rows())
    if {True, False} <= mean.keys():
        print(f"   mean score of {hobby}: {mean[True]:.2f}, of the rest: {mean[False]:.2f}")
