"""Fold-in: codes of new or changed users, with everything frozen that training has fitted."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from userip.bank.opening import open_bank
from userip.bank.protocol import Bank
from userip.bank.record import UNKNOWN_CODE, Record
from userip.files import beside, locked
from userip.release.manifest import CONFIG, FOLD_INS, Manifest, read_manifest
from userip.training.config import TrainConfig, load_config
from userip.training.crossfit.histories import Histories, Ints, histories_of
from userip.training.crossfit.views import CrossFitViews
from userip.training.data.cleaning import deduplicate, label
from userip.training.data.raw import LINE, RowReport
from userip.training.data.readers.columns import read_table
from userip.training.data.readers.table import TableColumns, read_any_table
from userip.training.data.text_files import need_columns
from userip.training.errors import ConfigError, DataError
from userip.training.methods.em_state import EMState
from userip.training.methods.protocol import Profiler, Refiner
from userip.training.progress import track
from userip.training.run import read_whole

log = logging.getLogger(__name__)


def fold_in_file(
    run: Path,
    interactions: Path,
    bank_url: str,
    positive_above: float | None,
    *,
    allow_bad_rows: bool = False,
    keep: bool = True,
) -> int:
    """Infer the users of a Parquet or CSV file and upsert them into the active release. Returns how many.

    The file holds, for each of its users, the whole history that the profile is to rest on: columns user_id and
    item_id, then label (true, false) or rating or both, and timestamp if there is one. A user who is in the bank keeps
    the recommender's row and gets the new codes. With `keep` the histories are kept in RUN/fold-in.parquet: the next
    release has no record of these users, and the file can be folded into it. Raises ConfigError when the bank serves
    another release than RUN's.
    """
    manifest = read_manifest(run / "release")
    kind = manifest.method.get("codes", "profile")
    if kind != "profile":
        raise ConfigError(f"{run / 'release'}: was fitted with fit.codes = {kind!r}, so it does not use profiles")
    if positive_above is not None and not math.isfinite(positive_above):
        raise ConfigError(f"--positive-above {positive_above}: give a finite number")
    threshold = manifest.dataset.get("positive_above") if positive_above is None else positive_above
    rows = _read(interactions, threshold, positive_above, allow_bad_rows=allow_bad_rows)
    bank = open_bank(bank_url)
    try:
        _require_active(bank, manifest, run)
        records, without = _records(bank, manifest, fold_in(run, rows))
        if keep:
            _keep(run / FOLD_INS, rows.filter(pl.col("user_id").is_in(list(records))))
        bank.upsert(manifest.release, records)
    finally:
        bank.close()
    if without:
        log.warning("no profile for %d users: none of their items is in the catalogue (%s)", len(without), without[0])
    print(f"{manifest.release}: {len(records):,} users folded in from {rows.height:,} interactions")
    return len(records)


def fold_in(run: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Codes of all users of rows (user_id, item_id, label), oldest first: user_id and one u16 column per code.

    Null codes where none of a user's items is in the catalogue. The settings are those of the release: RUN/config.toml
    may be those of a later command.
    """
    config = load_config(file=run / "release" / CONFIG, environment={})
    return FoldIn.open(run, config, read_whole(run, config)["quantize"]["seed"]).codes(rows)


@dataclass(frozen=True)
class FoldIn:
    """Everything that RUN froze: the method, and what every M step of the quantize step left."""

    profiler: Profiler
    states: tuple[EMState, ...]
    config: TrainConfig

    @classmethod
    def open(cls, run: Path, config: TrainConfig, seed: int) -> "FoldIn":
        """RUN's steps infer and quantize, which were made with `config` and `seed`."""
        profiler = config.profile_method.open(run, run / "infer", config.profile, seed)
        files = [run / "quantize" / f"round-{number}.safetensors" for number in range(config.quantize.last_round + 1)]
        return cls(profiler, tuple(EMState.load(file, config.quantizer.open) for file in files), config)

    def codes(self, rows: pl.DataFrame) -> pl.DataFrame:
        """As `fold_in`."""
        users = rows["user_id"].unique().sort().to_list()
        histories = histories_of(rows, self.profiler.items, users).last(self.config.history.longest)
        codes = self._codes(histories).astype(np.uint16)
        known = pl.Series(histories.lengths > 0)
        return pl.DataFrame({"user_id": users}).with_columns(
            pl.when(known).then(pl.Series(facet, codes[:, j])).alias(facet)
            for j, facet in enumerate(self.config.code_sizes)
        )

    def _codes(self, histories: Histories) -> Ints:
        """The whole path in turn, then the nearest codes of the last state: int64 [U, C]."""
        views = CrossFitViews.whole(histories)
        codes = np.zeros((len(histories), len(self.config.code_sizes)), dtype=np.int64)
        for users in track(self.profiler.batches(views), label="fold-in"):
            part, keys = histories.of(users), views.keys(users)
            z = inferred = self.profiler.infer(part, keys)
            for number, state in enumerate(self.states[:-1]):
                assert isinstance(self.profiler, Refiner)
                z = self.profiler.refine(number, state, part, keys, z, inferred, self.config.quantize)
            codes[users] = self.states[-1].assign(z).numpy()
        return codes


def _read(file: Path, threshold: float | None, asked: float | None, *, allow_bad_rows: bool) -> pl.DataFrame:
    """The file's interactions with labels, oldest first: its own labels, or else its ratings over the threshold."""
    table = read_table(file, RowReport())
    need_columns(table, file, ("user_id", "item_id"))
    columns = [column for column in table.columns if column != LINE]
    if not {"label", "rating"} & set(columns):
        raise DataError(f"{file}: no column 'label' or 'rating'; it has: {', '.join(columns)}")
    stated = "label" in columns
    if stated and asked is not None:
        raise ConfigError(f"--positive-above: {file} has labels; to compute labels from ratings, remove that column")
    if not stated and threshold is None:
        raise ConfigError(f"{file}: ratings need --positive-above: the run was trained on labels")
    # Beside labels, ratings still say how warmly a user rates, as they do in a data set that has both.
    judged = {f"{name}_column": name for name in ("label", "rating") if name in columns}
    timed = {"time_column": "timestamp"} if "timestamp" in columns else {}
    report = RowReport()
    raw = read_any_table(file, report, TableColumns.model_validate(judged | timed))
    report.refuse_if_many(allowed=allow_bad_rows)
    if raw.interactions.is_empty():
        raise DataError(f"{file}: no interactions found")
    if report.total_bad:
        log.warning("left out %d unreadable rows: %s", report.total_bad, "; ".join(report.examples))
    return label(deduplicate(raw.interactions), None if stated else threshold).sort("user_id", "timestamp", "item_id")


def _keep(file: Path, rows: pl.DataFrame) -> None:
    """Put whole histories into `file`, in place of those that it has of the same users."""
    with locked(file.parent):
        if file.exists():
            others = pl.read_parquet(file).join(rows, on="user_id", how="anti")
            rows = pl.concat([others, rows], how="diagonal_relaxed")
        with beside(file) as partial:
            rows.select(column for column in rows if column.null_count() < rows.height).write_parquet(partial)


def _require_active(bank: Bank, manifest: Manifest, run: Path) -> None:
    active = bank.active()
    if active != manifest.release:
        raise ConfigError(
            f"--bank: its active release is {active or 'none'}, {run} made {manifest.release}; "
            f"run `userip publish --release {run / 'release'}` or `userip activate` first"
        )


def _records(bank: Bank, manifest: Manifest, codes: pl.DataFrame) -> tuple[dict[str, Record], list[str]]:
    """Records to write, and the users without a known item. What is not a facet's code is kept as it stands."""
    slot = {facet.name: facet.slot for facet in manifest.facets}
    if set(slot) != set(codes.columns) - {"user_id"}:
        raise ConfigError(f"the release has facets {sorted(slot)}, the run {codes.columns[1:]}; export the run again")
    nobody = Record(0, (UNKNOWN_CODE,) * manifest.slots)
    records, without = {}, []
    found = bank.get_many(manifest.release, codes["user_id"].to_list())
    for before, row in zip(found, codes.iter_rows(named=True), strict=True):
        user = row.pop("user_id")
        if None in row.values():
            without.append(user)
            continue
        # A damaged record (RecordError) is written anew, like that of somebody new.
        record = before if isinstance(before, Record) else nobody
        values = list(record.codes)
        for name, code in row.items():
            values[slot[name]] = code
        records[user] = Record(record.row, tuple(values))
    return records, without
