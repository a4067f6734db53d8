"""Everything about a finished run: from its folder, as JSON, the same again."""

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

from tests.training.tiny_run import HASTE, easy_set, tiny_config, train
from userip.evaluation.explain.run import explain_run
from userip.training.config import write_config
from userip.training.data.dataset import Dataset
from userip.training.errors import SplitMismatchError

LESS = ("language.users=8", "language.items=4", "infer.steps=1", "infer.probe_users=0", "quantize.rounds=0")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    directory = tmp_path_factory.mktemp("run")
    dataset = easy_set(directory / "data", users=40, split="users")
    config = tiny_config(directory, *HASTE, *LESS)
    run = train(dataset, directory / "run", config)
    write_config(config, run / "config.toml")
    return dataset, run


def test_a_run_is_explained_whole(finished: tuple[Dataset, Path]) -> None:
    """Codes, words, attention and maps of both facets; train users only; JSON without NaN; the same twice."""
    dataset, run = finished
    found = explain_run(dataset, run, users=10, items=4, most=20)
    users = dataset.rows("train")["user_id"].n_unique()
    assert pl.read_parquet(run / "infer" / "views.parquet")["user_id"].n_unique() > users
    sizes = {"hobby": 4, "background": 3}
    assert {facet.facet: len(facet.codes) for facet in found.codes} == sizes
    assert all(facet.users == users for facet in found.codes)
    assert {facet.facet: len(facet.codes) for facet in found.words} == sizes
    assert [near.name for near in found.words[0].codes] == [f"hobby {code}" for code in range(4)]
    assert {chance.like for near in found.words[0].codes for chance in near.chances} == {"words", "profiles"}
    assert found.attention is not None
    assert found.attention.users == 10
    assert {one.fill for one in found.attention.shares} == {"random", "shared prompt", "own z", "even"}
    assert [(place.facet, len(place.x), len(place.centre_x)) for place in found.maps] == [
        ("hobby", 20, 4), ("background", 20, 3),
    ]  # fmt: skip
    assert found == explain_run(dataset, run, users=10, items=4, most=20)
    assert json.loads(json.dumps(asdict(found), allow_nan=False))


def test_codes_on_a_map_are_those_of_the_table(finished: tuple[Dataset, Path]) -> None:
    """All train users on the map: each code as often as codes.parquet says; most are nearest to their z."""
    dataset, run = finished
    found = explain_run(dataset, run, users=2, items=2)
    train_users = dataset.rows("train").select("user_id").unique()
    codes = pl.read_parquet(run / "quantize" / "codes.parquet").filter(pl.col("fold") == -1)
    codes = codes.join(train_users, on="user_id")
    for place in found.maps:
        assert sorted(place.codes) == sorted(codes[place.facet].to_list())
        assert place.nearest > 0.6


def test_a_run_of_another_data_set_is_refused(finished: tuple[Dataset, Path], tmp_path: Path) -> None:
    """Codes and rows of two splits are never mixed."""
    other = easy_set(tmp_path / "other", users=40, seed=9)
    with pytest.raises(SplitMismatchError, match="another split"):
        explain_run(other, finished[1])
