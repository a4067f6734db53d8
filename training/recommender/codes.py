"""The codes of all users, per fold, and their controls of the same shape."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userip.bank.record import UNKNOWN_CODE, rows_of_codes
from userip.training.crossfit.views import FULL
from userip.training.errors import DataError, SplitMismatchError
from userip.training.files import read_json
from userip.training.methods import DEFAULT
from userip.training.quantize.starts import Starts
from userip.training.recommender.config import CodesKind

CODES: Final = "codes.parquet"
QUANTIZE: Final = "quantize.json"
STEP: Final = "step.json"


@dataclass(frozen=True)
class CodeTable:
    """What the quantize step says about users.

    frame      user_id str, fold i8 (-1: from the whole history; f >= 0: without the train rows of fold f),
               then one u16 column per facet (65535 = unknown); at most one line per user and fold
    sizes      facet -> codebook size, sorted by facet
    folds      how many folds the train rows were cut into; below 2, train rows too take the codes of fold -1
    fold_seed  seed of `fold_of_rows`
    facets     what quantize.json says of each facet: name, size, usage, perplexity, ..
    method     the profile method that the codes come from
    starts     where a recommender's paths may start, if the method knows
    """

    frame: pl.DataFrame
    sizes: Mapping[str, int]
    folds: int = 0
    fold_seed: int = 0
    facets: tuple[dict[str, Any], ...] = ()
    method: str = DEFAULT
    starts: Starts | None = None

    @classmethod
    def read(cls, directory: Path, split_hash: str) -> "CodeTable":
        """Read RUN/quantize. Raises DataError naming file and column, or SplitMismatchError."""
        summary = read_json(directory / QUANTIZE, "quantize")
        made_from = summary.get("split_hash") or read_json(directory / STEP, "quantize").get("split_hash")
        if made_from != split_hash:
            raise SplitMismatchError(
                f"{directory}: was made from another split of the data; run `userip quantize` again"
            )
        file = directory / CODES
        if not file.is_file():
            raise DataError(f"{file}: not found; run `userip quantize` first")
        sizes = {str(facet["name"]): int(facet["size"]) for facet in summary["facets"]}
        frame = pl.read_parquet(file)
        _check(file, frame, sizes)
        return cls(
            frame.select("user_id", "fold", *sorted(sizes)).sort("user_id", "fold"),
            {name: sizes[name] for name in sorted(sizes)},
            int(summary.get("folds", 0)),
            int(summary.get("fold_seed", 0)),
            tuple(summary["facets"]),
            str(summary.get("method", DEFAULT)),
            Starts.read(directory),
        )

    def rows_of(self, users: pl.Series, folds: pl.Series | int = FULL) -> NDArray[np.int64]:
        """Code rows int64 [n, K] of users at folds, in the order of `sizes`: code + 1, 0 without a code."""
        keys = pl.DataFrame({"user_id": users}).with_columns(
            fold=pl.lit(folds, pl.Int8) if isinstance(folds, int) else folds.cast(pl.Int8)
        )
        joined = keys.join(self.frame, on=["user_id", "fold"], how="left", maintain_order="left")
        codes = joined.select(pl.col(*self.sizes).cast(pl.Int64).fill_null(UNKNOWN_CODE)).to_numpy()
        return rows_of_codes(codes)

    def usage(self, facet: str) -> list[float]:
        """Share of each of the facet's codes among users whose code, from the whole history, is known."""
        known = self.frame.filter((pl.col("fold") == FULL) & (pl.col(facet) != UNKNOWN_CODE))[facet]
        counts = np.bincount(known.to_numpy(), minlength=self.sizes[facet])
        return [float(count) / max(len(known), 1) for count in counts]

    def control(self, kind: CodesKind, seed: int) -> "CodeTable":
        """The same shape with other content: `profile` is this table itself, the rest are the controls.

        constant  code 0 for every user
        random    uniform codes, one draw per user, the same in every fold
        shuffled  every user gets the codes of some other user that has the same folds
        """
        if kind == "profile":
            return self
        if self.starts is not None and self.starts.numbers:
            return replace(self, starts=self.starts.of_items).control(kind, seed)
        if kind == "constant":
            zeros = [pl.lit(0, pl.UInt16).alias(name) for name in self.sizes]
            return replace(self, frame=self.frame.with_columns(zeros))
        rng = np.random.default_rng(seed)
        if kind == "random":
            users = self.frame.select(pl.col("user_id").unique().sort())
            drawn = users.with_columns(
                pl.Series(name, rng.integers(0, size, users.height), pl.UInt16) for name, size in self.sizes.items()
            )
            return replace(self, frame=self._placed(drawn, ["user_id"]))
        if kind == "shuffled":
            return replace(self, frame=self._shuffled(rng))
        raise ValueError(f"codes: {kind!r} is no control")

    def _shuffled(self, rng: np.random.Generator) -> pl.DataFrame:
        folds = self.frame.group_by("user_id").agg(held=pl.col("fold").sort().cast(pl.String).str.join(","))
        pieces = []
        for _, alike in sorted(folds.group_by("held"), key=lambda pair: str(pair[0])):
            users = alike["user_id"].sort()
            pieces.append(pl.DataFrame({"user_id": users.gather(rng.permutation(len(users))), "to": users}))
        moved = self.frame.join(pl.concat(pieces), on="user_id", how="inner")
        donors = moved.select(pl.col("to").alias("user_id"), "fold", *self.sizes)
        return self._placed(donors, ["user_id", "fold"])

    def _placed(self, codes: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
        """This table's lines with the facet columns of `codes`."""
        lines = self.frame.select("user_id", "fold")
        return lines.join(codes, on=keys, how="left", maintain_order="left").select("user_id", "fold", *self.sizes)


def _check(file: Path, frame: pl.DataFrame, sizes: Mapping[str, int]) -> None:
    for name in ("user_id", "fold", *sizes):
        if name not in frame.columns:
            raise DataError(f"{file}: no column {name!r}; run `userip quantize` again")
    if frame.select("user_id", "fold").is_duplicated().any():
        raise DataError(f"{file}: columns user_id, fold: a user has two codes at one fold")
    for name, size in sizes.items():
        wrong = frame.filter((pl.col(name) >= size) & (pl.col(name) != UNKNOWN_CODE))
        if wrong.height:
            user, code = wrong["user_id"][0], wrong[name][0]
            raise DataError(f"{file}: column {name}: user {user!r} has code {code}, the codebook has {size}")
