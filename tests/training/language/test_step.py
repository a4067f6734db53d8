"""The language step on a small data set: what it writes, what it reads, and what it must not see."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.tiny_language import frozen_lm
from tests.training.toy import toy_dataset
from userip.training.config import TrainConfig
from userip.training.crossfit.histories import Histories, histories_of
from userip.training.data.dataset import Dataset
from userip.training.data.storage import write_dataset
from userip.training.errors import ConfigError, DataError
from userip.training.language.language import load_language
from userip.training.language.pretrain import probe_users
from userip.training.language.step import run_language, train_histories

LANGUAGE = {"layers": 1, "width": 16, "heads": 2, "vocabulary": 400, "steps": 4, "users": 8, "items": 3}
SEED = 5


def _config(**sections: Any) -> TrainConfig:  # noqa: ANN401  (a section each)
    return TrainConfig.model_validate(
        {"language": LANGUAGE | {"dtype": "float32"}, "history": {"longest": 8}} | sections
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 users; a quarter of them held out whole."""
    return toy_dataset(tmp_path_factory.mktemp("toy") / "data", split="users", users=64, per_user=12)


@pytest.fixture(scope="module")
def written(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that one run writes."""
    return _run(dataset, tmp_path_factory.mktemp("run") / "language")


def _run(dataset: Dataset, out: Path, config: TrainConfig | None = None) -> Path:
    out.mkdir(parents=True)
    sections = config or _config()
    run_language(dataset, out.parent, out, sections.facets, sections.history, sections.language, SEED)
    return out


def _flipped(dataset: Dataset, where: pl.Expr, out: Path) -> Dataset:
    """The same data set with the labels of some rows turned round."""
    rows = pl.read_parquet(dataset.path / "interactions.parquet")
    rows = rows.with_columns(label=pl.when(where).then(~pl.col("label")).otherwise(pl.col("label")))
    return write_dataset(out, dataset.info, rows, dataset.items)


def _content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def _slots(folder: Path, some: Histories) -> torch.Tensor:
    lm, _, fillers = load_language(folder, None, "float32")
    return fillers.slots(some, lm.table)


def test_the_folder_is_complete_and_opens_again(dataset: Dataset, written: Path) -> None:
    """Model, tokenizer, catalogue and reader.json; opened, they read histories as the data set would."""
    assert {"model.safetensors", "config.json", "tokenizer.json", "catalogue.parquet", "reader.json"} <= set(
        _content(written)
    )
    lm, reader, fillers = load_language(written, None, "float32")
    train = train_histories(dataset, _config().history)
    assert reader.items.equals(dataset.items)
    assert reader.attributes == ("kind", "shelf")
    assert fillers.slots(train, lm.table).shape == (len(train), 2, 16)
    assert [facet.name for facet in reader.facets] == ["hobby", "background"]
    assert json.loads((written / "reader.json").read_bytes())["split_hash"] == dataset.split_hash


def test_the_same_seed_writes_the_same_folder(dataset: Dataset, written: Path, tmp_path: Path) -> None:
    """Every file, to the last byte."""
    assert _content(_run(dataset, tmp_path / "again")) == _content(written)


def test_rows_outside_train_leave_no_trace(dataset: Dataset, written: Path, tmp_path: Path) -> None:
    """Turning round every label of valid, test and history rows changes no byte: all is learnt from train rows."""
    other = _flipped(dataset, pl.col("split") != "train", tmp_path / "data")
    assert not other.rows("valid", "history").equals(dataset.rows("valid", "history"))
    assert _content(_run(other, tmp_path / "language")) == _content(written)


def test_train_rows_do_leave_a_trace(dataset: Dataset, written: Path, tmp_path: Path) -> None:
    """The test above has power: labels of train rows change model and words."""
    other = _flipped(dataset, pl.col("split") == "train", tmp_path / "data")
    folder = _run(other, tmp_path / "language")
    assert _content(folder)["model.safetensors"] != _content(written)["model.safetensors"]
    some = train_histories(dataset, _config().history)
    assert not torch.equal(_slots(folder, some), _slots(written, some))


def test_only_ratings_of_train_rows_count(dataset: Dataset, written: Path, tmp_path: Path) -> None:
    """Other ratings under the same labels change the words when they are train rows', and no byte when they are not."""
    rows = pl.read_parquet(dataset.path / "interactions.parquet")
    for name, where in (("others", pl.col("split") != "train"), ("train", pl.col("split") == "train")):
        stars = pl.when("label").then(4.0 + pl.int_range(pl.len()) % 2).otherwise(2.0).cast(pl.Float32)
        changed = rows.with_columns(rating=pl.when(where).then(stars).otherwise(pl.col("rating")))
        other = write_dataset(tmp_path / f"{name}-data", dataset.info, changed, dataset.items)
        assert (_content(_run(other, tmp_path / name)) == _content(written)) == (name == "others")
    some = train_histories(dataset, _config().history)
    assert some.rating is not None
    assert not torch.equal(_slots(tmp_path / "train", some), _slots(written, some))


def test_probe_users_are_not_trained_on(dataset: Dataset, written: Path, tmp_path: Path) -> None:
    """Turning the probe users' labels round leaves every weight as it was; another user's labels do not."""
    train = train_histories(dataset, _config().history)
    users = dataset.rows("train")["user_id"].unique().sort().to_list()
    probe = probe_users(train, SEED)
    assert 0 < len(probe) < len(users) / 2
    chosen = [users[n] for n in probe]
    rest = [users[n] for n in np.setdiff1d(np.arange(len(users)), probe)]
    for name, group, same in (("probe", chosen, True), ("rest", rest[:3], False)):
        where = pl.col("user_id").is_in(group) & (pl.col("split") == "train")
        folder = _run(_flipped(dataset, where, tmp_path / f"{name}-data"), tmp_path / name)
        assert (_content(folder)["model.safetensors"] == _content(written)["model.safetensors"]) == same


def test_the_figures_say_what_words_are_worth(dataset: Dataset, tmp_path: Path) -> None:
    """Nats under the user's own words, no words and another user's, beside the log of the number of items."""
    (tmp_path / "language").mkdir()
    figures = run_language(
        dataset, tmp_path, tmp_path / "language", _config().facets, _config().history, _config().language, SEED
    )
    assert figures["log_items"] == pytest.approx(np.log(47), abs=1e-4)
    assert set(figures["probe"]) == {"own words", "no words", "another user's words"}
    assert all(nats["title"] > 0 and nats["polarity"] > 0 for nats in figures["probe"].values())
    assert figures["steps"] == 4


def test_train_histories_are_the_last_train_rows(dataset: Dataset) -> None:
    """Users in the order of their ids, their last `longest` train rows, and nothing of held-out users."""
    got = train_histories(dataset, _config().history)
    rows = dataset.rows("train")
    users = rows["user_id"].unique().sort().to_list()
    assert len(got) == len(users)
    index = {item: n for n, item in enumerate(dataset.items["item_id"].to_list())}
    for n, user in enumerate(users):
        mine = rows.filter(pl.col("user_id") == user).sort("timestamp")["item_id"].to_list()[-8:]
        assert got.of(np.array([n])).items.tolist() == [index[item] for item in mine]
    assert histories_of(rows, dataset.items, ["nobody"]).lengths.tolist() == [0]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_model_that_is_given_is_used_as_it_is(dataset: Dataset, kind: str, tmp_path: Path) -> None:
    """`language.path` names a folder: nothing is trained, no weights are copied, the words are counted."""
    given = frozen_lm(kind)
    given.model.save_pretrained(tmp_path / "given")
    given.tokenizer.save_pretrained(tmp_path / "given")
    path = str(tmp_path / "given")
    out = _run(dataset, tmp_path / "language", _config(language=LANGUAGE | {"path": path, "dtype": "float32"}))
    assert set(_content(out)) == {"catalogue.parquet", "reader.json"}
    lm, reader, fillers = load_language(out, path, "float32")
    assert torch.equal(lm.head, given.head)
    assert fillers.slots(train_histories(dataset, reader.history), lm.table).shape[1:] == (2, 32)


def test_a_column_that_is_not_there_is_named(dataset: Dataset, tmp_path: Path) -> None:
    """The message says the facet, the column, and which there are."""
    facets = [{"name": "hobby", "phrase": "Hobby:", "filler": "attributes", "columns": ["genre"]}]
    with pytest.raises(DataError, match=r"facets\.hobby\.columns: .*'genre'; it has item_id, title, kind, shelf"):
        _run(dataset, tmp_path / "language", _config(facets=facets))


def test_a_history_that_cannot_fit_is_refused_before_the_training(dataset: Dataset, tmp_path: Path) -> None:
    """A billion steps would not end: the settings are checked first."""
    config = _config(history={"factorised": False, "longest": 90}, language=LANGUAGE | {"steps": 10**9})
    with pytest.raises(ConfigError, match="the language model has 256"):
        _run(dataset, tmp_path / "language", config)


def test_a_folder_that_is_not_complete_is_named(tmp_path: Path) -> None:
    """Nothing there: the message names the file and the step to run."""
    with pytest.raises(DataError, match=r"reader\.json: not found; run `userip train-lm` again"):
        load_language(tmp_path, None, "float32")


def test_a_folder_of_an_earlier_version_is_named(written: Path) -> None:
    """What this version needs and an earlier one did not write: one line that says what to do."""
    file = written / "reader.json"
    whole = file.read_text(encoding="utf-8")
    said = json.loads(whole)
    del said["fillers"]["judgements"]
    file.write_text(json.dumps(said), encoding="utf-8")
    try:
        with pytest.raises(DataError, match=r"reader\.json: fillers: no 'judgements'; .* run `userip train-lm` again"):
            load_language(written, None, "float32")
    finally:
        file.write_text(whole, encoding="utf-8")
