"""The method from data to scores: the cyclist is served bicycles."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.toy import toy_dataset
from userip.models.recommenders.paths import PathNetwork
from userip.release.items import read_item_rows
from userip.training.config import TrainConfig, load_config
from userip.training.crossfit.histories import Ints
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError
from userip.training.fold_in import fold_in
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.fit import FittedRecommender
from userip.training.recommender.storage import read_recommender
from userip.training.run import run_step, steps_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path, TrainConfig]:
    """Trained on users of three tastes, of whom some are held out."""
    place = tmp_path_factory.mktemp("taste")
    dataset = toy_dataset(place / "data", split="users", users=240)
    config = load_config("default", None, ["method=taste", "export.min_users=3"], environment={})
    for step in steps_of(config):
        run_step(step, dataset, place / "run", config, 0)
    return dataset, place / "run", config


def _fitted(dataset: Dataset, run: Path) -> FittedRecommender:
    return read_recommender(run / "fit", dataset, CodeTable.read(run / "quantize", dataset.split_hash))


def test_candidates_of_new_users_come_in_their_order(made: tuple[Dataset, Path, TrainConfig]) -> None:
    """PLANTED: held-out users like one kind in three; which kind, only taste tells. Served from their codes alone."""
    _, run, _ = made
    metrics = json.loads((run / "fit" / "metrics.json").read_bytes())
    assert metrics["test"]["gauc"] > 0.75
    assert metrics["test"]["ece"] < 0.1


def test_six_likes_and_four_dislikes_move_what_was_never_seen(made: tuple[Dataset, Path, TrainConfig]) -> None:
    """Made-up users like one kind and dislike another: unseen items of the first rise beside the second."""
    dataset, run, _ = made
    fitted = _fitted(dataset, run)
    draw = np.random.default_rng(0)
    lines, unseen = [], dict[str, tuple[Ints, Ints]]()
    for user in range(30):
        liked, other = draw.permutation(3)[:2]
        mine, theirs = (draw.permutation(np.arange(kind, 45, 3)) for kind in (liked, other))
        lines += [(f"n{user}", f"i{item}", True, 5.0) for item in mine[:6]]
        lines += [(f"n{user}", f"i{item}", False, 1.0) for item in theirs[:4]]
        unseen[f"n{user}"] = (mine[6:], theirs[4:])
    rows = pl.DataFrame(lines, schema=["user_id", "item_id", "label", "rating"], orient="row")
    rows = rows.with_columns(pl.col("rating").cast(pl.Float32), timestamp=pl.lit(None, pl.Int64))
    codes = fold_in(run, rows)
    assert fitted.codes is not None
    frame = codes.with_columns(fold=pl.lit(-1, pl.Int8)).select("user_id", "fold", *fitted.codes.sizes)
    known = replace(fitted, codes=replace(fitted.codes, frame=frame))

    def mean(user: str, items: Ints) -> float:
        asked = pl.DataFrame({"user_id": [user] * len(items), "item_id": [f"i{item}" for item in items]})
        return float(known.predict(asked).mean())

    gains = [
        mean(user, mine) - mean(user, theirs) - mean("nobody", mine) + mean("nobody", theirs)
        for user, (mine, theirs) in unseen.items()
    ]
    assert np.mean(np.array(gains) > 0) >= 0.9
    assert np.median(gains) >= 0.1


def test_an_item_that_nobody_has_rated_is_scored_by_its_attributes(made: tuple[Dataset, Path, TrainConfig]) -> None:
    """i45 is a drama without a train row: held-out users of that taste like it more than the others do; the release
    has it, and what has no attribute of its own is told as any other.
    """
    dataset, run, _ = made
    fitted = _fitted(dataset, run)
    users = dataset.rows("history")["user_id"].unique().sort().to_list()
    score = fitted.predict(pl.DataFrame({"user_id": users, "item_id": ["i45"] * len(users)}))
    drama = np.array([int(user[1:]) % 3 == 0 for user in users])
    assert score[drama].mean() > score[~drama].mean() + 0.2
    released = set(read_item_rows((run / "release" / "items.npz").read_bytes(), 47, run / "release" / "items.npz"))
    assert {"i45", "i46"} <= released


def test_codes_are_described(made: tuple[Dataset, Path, TrainConfig]) -> None:
    """The first code of each facet in words; the release has every code as a slot."""
    _, run, config = made
    manifest = json.loads((run / "release" / "manifest.json").read_bytes())
    named = {facet["name"]: facet for facet in manifest["facets"]}
    assert set(named) == set(config.code_sizes)
    assert any("kind: " in text for code in named["taste"]["codes"] for text in code["description"])
    assert all("others" in code["description"][0] for code in named["generosity"]["codes"])


def test_a_recommender_starts_where_the_method_stands(made: tuple[Dataset, Path, TrainConfig]) -> None:
    """Before the first step, a logit is the item's bias, and what the codes add to it."""
    dataset, run, _ = made
    fitted = _fitted(dataset, run)
    starts = CodeTable.read(run / "quantize", dataset.split_hash).starts
    assert starts is not None
    model = fitted.model
    assert isinstance(model, PathNetwork)
    assert fitted.codes is not None
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name == "gate" or name.endswith(".delta"):
                value.zero_()
        model.calibration.copy_(torch.tensor([1.0, 0.0]))
    rows = dataset.rows("valid").head(200)
    given = np.log(fitted.predict(rows) / (1 - fitted.predict(rows)))
    places = {item: place for place, item in enumerate(starts.items)}
    codes = fitted.codes.rows_of(rows["user_id"]) - 1
    expected = []
    for line, item in enumerate(rows["item_id"]):
        number, vector = starts.bias[places[item]], torch.zeros(starts.dot)
        for facet, code in zip(fitted.codes.sizes, codes[line], strict=True):
            number = number + starts.numbers[facet][code]
            vector = vector + starts.code_vectors[facet][code]
        expected.append(float(number + (vector * starts.vectors[places[item]]).sum()))
    assert given == pytest.approx(np.array(expected), abs=2e-3)


def test_levels_of_no_facet_are_refused() -> None:
    """A typo in a table of levels is named, with what there is."""
    with pytest.raises(ConfigError, match="no facet 'tast'; there are generosity, warmth, taste"):
        load_config("default", None, ["method=taste", "quantize.levels.tast=3"], environment={})
