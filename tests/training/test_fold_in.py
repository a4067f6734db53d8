"""Fold-in: frozen models give new users the codes that training would have given them, and touch nobody else."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
import torch

from tests.fixtures.runs import Once, Run, copy_steps
from tests.training.tiny_run import HASTE, PROFILE_STEPS, ROUNDS, contents, tiny_config, train
from userip.bank.opening import open_bank
from userip.bank.protocol import Bank
from userip.bank.record import Record
from userip.bank.release_records import ReleaseRecords
from userip.ops.publish import publish_release
from userip.release.manifest import read_manifest
from userip.training.config import load_config, write_config
from userip.training.crossfit.histories import Histories
from userip.training.crossfit.views import ViewKeys
from userip.training.data.dataset import Dataset
from userip.training.errors import BadRowsError, ConfigError, DataError
from userip.training.fold_in import fold_in, fold_in_file
from userip.training.methods.userip.inference import Inference
from userip.training.threads import one_thread


class Served(NamedTuple):
    """A run whose release is active in a bank of its own."""

    dataset: Dataset
    run: Path
    url: str
    bank: Bank

    @property
    def release(self) -> str:
        return read_manifest(self.run / "release").release

    def record(self, user: str) -> Record:
        (found,) = self.bank.get_many(self.release, [user])
        assert isinstance(found, Record)
        return found


@pytest.fixture(scope="module")
def trained(held_out: Run, once: Once) -> tuple[Dataset, Path]:
    """A run with held-out users, whose codes rest on their histories."""

    def make(place: Path) -> None:
        copy_steps(held_out.path, place / "run", *PROFILE_STEPS)
        train(held_out.dataset, place / "run", tiny_config(place, *HASTE, *ROUNDS), ["fit", "export"])

    return held_out.dataset, once("fold-in", make) / "run"


@pytest.fixture
def served(trained: tuple[Dataset, Path], tmp_path: Path) -> Iterator[Served]:
    """A copy of the run, which fold-in writes to, its release active in a fresh bank."""
    url, run = f"lmdb://{tmp_path}/bank", tmp_path / "served"
    shutil.copytree(trained[1], run)
    bank = open_bank(url)
    publish_release(run / "release", bank)
    yield Served(trained[0], run, url, bank)
    bank.close()


def test_the_same_history_gets_the_same_codes(trained: tuple[Dataset, Path]) -> None:
    """Held-out users folded in from their history have the codes of codes.parquet, and nothing of the run changes."""
    dataset, run = trained
    before = contents(run)
    rows = dataset.rows("history")
    with one_thread():
        codes = fold_in(run, rows)
    known = pl.read_parquet(run / "quantize" / "codes.parquet").filter(pl.col("fold") == -1)
    both = codes.join(known, on="user_id", suffix="_trained")
    assert both.height == rows["user_id"].n_unique() >= 15
    for facet in ("hobby", "background"):
        assert (both[facet] == both[f"{facet}_trained"]).all()
    assert contents(run) == before


def test_the_settings_are_those_of_the_release(trained: tuple[Dataset, Path], tmp_path: Path) -> None:
    """A later command that was interrupted has left its settings in RUN/config.toml: they count for nothing here."""
    dataset, run = trained
    shutil.copytree(run, tmp_path / "run")
    rows = dataset.rows("history")
    other = load_config(file=run / "config.toml", settings=["infer.lr=5.0", "quantize.em_rounds=0"], environment={})
    write_config(other, tmp_path / "run" / "config.toml")
    with one_thread():
        assert fold_in(tmp_path / "run", rows).equals(fold_in(run, rows))


def test_a_changed_user_keeps_the_row_and_gets_new_codes(served: Served, tmp_path: Path) -> None:
    """A user of the recommender with a turned taste: same row, other codes; the other users' records stay."""
    everybody = [user for (user,) in served.dataset.rows("train").select("user_id").unique(maintain_order=True).rows()]
    before = {user: served.record(user) for user in everybody}
    user = everybody[0]
    rows = served.dataset.rows("train").filter(pl.col("user_id") == user)
    rows.select("user_id", "item_id", "timestamp", label=~pl.col("label")).write_csv(tmp_path / "turned.csv")
    with one_thread():
        assert fold_in_file(served.run, tmp_path / "turned.csv", served.url, None) == 1
    assert served.record(user).row == before[user].row > 0
    assert served.record(user).codes != before[user].codes
    assert {other: served.record(other) for other in everybody[1:]} == {other: before[other] for other in everybody[1:]}


def test_a_user_without_a_known_item_is_told_and_not_written(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ratings count by the run's own threshold; who has no item of the catalogue stays unknown, by name in the log."""
    item = served.dataset.items["item_id"][0]
    (tmp_path / "new.csv").write_text(f"user_id,item_id,rating\nnew,{item},5\nlost,no-such-item,5\n")
    with one_thread():
        assert fold_in_file(served.run, tmp_path / "new.csv", served.url, None) == 1
    assert served.record("new").row == 0
    assert served.bank.get_many(served.release, ["lost"]) == [None]
    assert any("no profile for 1 users" in line and "lost" in line for line in caplog.messages)


def test_histories_are_kept_for_the_next_release(served: Served, tmp_path: Path) -> None:
    """The last whole history of each user, ready to be folded in again: it gives the same records."""
    kept = served.run / "fold-in.parquet"
    items = served.dataset.items["item_id"].to_list()
    for rating, user in ((1, "one"), (5, "one"), (5, "two")):
        rows = "".join(f"{user},{item},{rating}\n" for item in items[:6])
        (tmp_path / "new.csv").write_text(f"user_id,item_id,rating\n{rows}")
        with one_thread():
            fold_in_file(served.run, tmp_path / "new.csv", served.url, None)
    records = {user: served.record(user) for user in ("one", "two")}
    assert pl.read_parquet(kept).sort("user_id")["user_id"].to_list() == ["one"] * 6 + ["two"] * 6
    assert pl.read_parquet(kept)["label"].all()
    for user in records:
        served.bank.forget(user)
    with one_thread():
        assert fold_in_file(served.run, kept, served.url, None) == 2
        assert {user: served.record(user) for user in records} == records
        kept.unlink()
        fold_in_file(served.run, tmp_path / "new.csv", served.url, None, keep=False)
    assert not kept.exists()


def test_another_active_release_is_left_alone(served: Served, tmp_path: Path) -> None:
    """A bank that serves another release than the run's is refused with what to do; nobody is written."""
    served.bank.publish("other", ReleaseRecords([], np.zeros(0, np.uint32), np.zeros((0, 2), np.uint16)))
    served.bank.activate("other")
    item = served.dataset.items["item_id"][0]
    (tmp_path / "new.csv").write_text(f"user_id,item_id,label\nnew,{item},true\n")
    with pytest.raises(ConfigError, match=r"its active release is other, .*; run `userip publish"):
        fold_in_file(served.run, tmp_path / "new.csv", served.url, None)
    assert served.bank.get_many(served.release, ["new"]) == [None]


def test_an_empty_file_is_named(served: Served, tmp_path: Path) -> None:
    """Nothing to fold in is an input error, exit code 2."""
    (tmp_path / "new.csv").write_text("user_id,item_id,label\n")
    with pytest.raises(DataError, match=r"new\.csv: no interactions found"):
        fold_in_file(served.run, tmp_path / "new.csv", served.url, None)


def _profiles(
    served: Served, file: Path, told: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[Histories, torch.Tensor]]:
    """The history that each file's one user has in the run, and the profile z [J, m, d] that it is inferred from."""
    seen = []
    real = Inference.infer

    def infer(self: Inference, histories: Histories, keys: ViewKeys) -> torch.Tensor:
        z = real(self, histories, keys)
        seen.append((histories, z[0]))
        return z

    monkeypatch.setattr(Inference, "infer", infer)
    for user, table in told.items():
        table.with_columns(user_id=pl.lit(user)).write_csv(file)
        with one_thread():
            assert fold_in_file(served.run, file, served.url, None) == 1
    return dict(zip(told, seen, strict=True))


def test_labels_are_taken_as_they_are(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of ratings takes labels too: the same likes as those of the ratings, and turned labels say another code."""
    rows = served.dataset.rows("train")
    rows = rows.filter(pl.col("user_id") == rows["user_id"][0])
    told = {
        "labels": rows.select("item_id", "timestamp", "label"),
        "ratings": rows.select("item_id", "timestamp", "rating"),
        "turned": rows.select("item_id", "timestamp", label=~pl.col("label")),
    }
    found = _profiles(served, tmp_path / "new.csv", told, monkeypatch)
    labels, ratings, turned = (found[user][0] for user in told)
    assert labels.items.tolist() == ratings.items.tolist() == turned.items.tolist()
    assert labels.liked.tolist() == ratings.liked.tolist() == (~turned.liked).tolist()
    slot = {facet.name: facet.slot for facet in read_manifest(served.run / "release").facets}
    hobby = {user: served.record(user).codes[slot["hobby"]] for user in told}
    assert hobby["labels"] == hobby["ratings"]
    assert served.record("labels").codes != served.record("turned").codes


def test_ratings_reach_the_profile(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the same labels, other ratings give another profile; a file may bring both labels and ratings."""
    rows = served.dataset.rows("train")
    rows = rows.filter(pl.col("user_id") == rows["user_id"][0]).select("item_id", "timestamp", "label")
    cold = rows.with_columns(rating=pl.when("label").then(3.5).otherwise(1.0))
    warm = rows.with_columns(rating=pl.when("label").then(5.0).otherwise(2.5))
    assert served.dataset.info.positive_above == 3.0
    told = {
        "cold": cold.drop("label"),
        "warm": warm.drop("label"),
        "both": warm,
        "empty": rows.with_columns(rating=pl.lit(None, pl.Float32)),
        "labels": rows,
    }
    found = _profiles(served, tmp_path / "new.csv", told, monkeypatch)
    assert all(some.liked.tolist() == found["cold"][0].liked.tolist() for some, _ in found.values())
    ratings = {user: None if some.rating is None else some.rating.tolist() for user, (some, _) in found.items()}
    in_time = {
        name: table.sort("timestamp", "item_id")["rating"].to_list() for name, table in (("c", cold), ("w", warm))
    }
    assert ratings == {"cold": in_time["c"], "warm": in_time["w"], "both": in_time["w"], "empty": None, "labels": None}
    z = {user: profile for user, (_, profile) in found.items()}
    assert torch.equal(z["both"], z["warm"])
    assert torch.equal(z["empty"], z["labels"])
    assert (z["warm"] - z["cold"]).abs().max() > 1e-3
    assert (z["labels"] - z["cold"]).abs().max() > 1e-3


def test_unreadable_rows_are_refused_and_then_told(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Over 1 % of bad rows is an error that names them; allowed, they are left out and named in the log."""
    item = served.dataset.items["item_id"][0]
    file = tmp_path / "new.csv"
    file.write_text(f"user_id,item_id,label\nnew,{item},true\nnew,{item},perhaps\n")
    with pytest.raises(BadRowsError, match=r"1 of 2 rows cannot be read \(new\.csv:3: label 'perhaps'"):
        fold_in_file(served.run, file, served.url, None)
    with one_thread():
        assert fold_in_file(served.run, file, served.url, None, allow_bad_rows=True) == 1
    assert any("left out 1 unreadable rows: new.csv:3" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("header", "positive_above", "complaint"),
    [
        ("customer,item_id,label", None, "no column 'user_id'; it has: customer, item_id, label"),
        ("user_id,sku,label", None, "no column 'item_id'; it has: user_id, sku, label"),
        ("user_id,item_id,stars", None, "no column 'label' or 'rating'; it has: user_id"),
        ("user_id,item_id,label", 3.0, "--positive-above: .* has labels"),
        ("user_id,item_id,rating", float("nan"), "--positive-above nan: give a finite number"),
    ],
)
def test_what_does_not_fit_is_named(
    header: str, positive_above: float | None, complaint: str, served: Served, tmp_path: Path
) -> None:
    """Columns and thresholds that cannot be used: exit code 2 and what is wrong, in the command's own words."""
    (tmp_path / "new.csv").write_text(f"{header}\nnew,a,1\n")
    with pytest.raises((ConfigError, DataError), match=complaint) as error:
        fold_in_file(served.run, tmp_path / "new.csv", served.url, positive_above)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("kind", ["none", "constant"])
def test_a_release_without_profiles_is_refused(kind: str, served: Served, tmp_path: Path) -> None:
    """Codes of a profile mean nothing to a recommender that was fitted on a control's, or on none."""
    shutil.copytree(served.run / "release", tmp_path / "release")
    file = tmp_path / "release" / "manifest.json"
    manifest = json.loads(file.read_bytes())
    manifest["method"]["codes"] = kind
    file.write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=f"was fitted with fit.codes = '{kind}'"):
        fold_in_file(tmp_path, tmp_path / "new.csv", served.url, None)
