"""The infer step: RUN/infer holds z of every user and of every user without each fold (docs/method.md#em, S1 and S2).

views.parquet   user_id, fold: one line per row of z.npy, float32 [V, J, m, d]
and what the method has fitted; batches that an interrupted run has finished are kept
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from torch import Tensor

from userip.training.crossfit.histories import Histories, Ints
from userip.training.crossfit.views import CrossFitViews
from userip.training.data.dataset import Dataset
from userip.training.methods.config import ProfileConfig
from userip.training.methods.table import ProfileTable
from userip.training.progress import track

# What happens to a batch: (views, their histories) -> z
BatchWork = Callable[[Ints, Histories], Tensor]


def run_infer(dataset: Dataset, run: Path, out: Path, profile: ProfileConfig, seed: int) -> dict[str, Any]:
    """Fit the method and infer the profile of every view."""
    views = views_of(dataset, profile, seed)
    profiler = profile.profile_method.fit(dataset, views, run, out, profile, seed)
    groups = profiler.batches(views)
    table = ProfileTable(out, "z", (len(views), *profiler.shape), len(groups))

    def work(members: Ints, histories: Histories) -> Tensor:
        return profiler.infer(histories, views.keys(members))

    fill(table, groups, views, work, "profiles")
    users = pl.Series("user_id", views.users, dtype=pl.String).gather(views.user)
    pl.DataFrame({"user_id": users, "fold": views.without}).write_parquet(out / "views.parquet")
    return {"views": len(views), "users": len(views.users), **profiler.figures}


def views_of(dataset: Dataset, profile: ProfileConfig, seed: int) -> CrossFitViews:
    """What profiles are inferred from: whole histories, and those of train users without each fold."""
    return CrossFitViews.of(dataset, profile.infer.folds, seed, profile.history.longest)


def fill(table: ProfileTable, groups: list[Ints], views: CrossFitViews, work: BatchWork, label: str) -> None:
    """Run `work` on every batch that is not in the table yet."""
    pending = table.pending()
    for number in track(pending, label=label, total=len(groups), done=len(groups) - len(pending)):
        members = groups[number]
        table.write(number, members, work(members, views.of_views(members)))
