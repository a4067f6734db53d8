"""Everything about a finished run: from its folder, as JSON, the same again."""

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

from tests.fixtures.runs import Run
from tests.training.tiny_run import easy_set
from userip.evaluation.explain.run import explain_run
from userip.training.errors import SplitMismatchError


def test_a_run_is_explained_whole(held_out: Run) -> None:
    """Codes, words, attention and maps of both facets; train users only; JSON without NaN; the same twice."""
    dataset, run = held_out
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
    assert [(place.facet, len(place.x)) for place in found.maps] == [("hobby", 20), ("background", 20)]
    assert found == explain_run(dataset, run, users=10, items=4, most=20)
    assert json.loads(json.dumps(asdict(found), allow_nan=False))


def test_codes_on_a_map_are_those_of_the_table(held_out: Run) -> None:
    """All train users on the map: each code as often as codes.parquet says; most are nearest to their z."""
    dataset, run = held_out
    found = explain_run(dataset, run, users=2, items=2)
    train_users = dataset.rows("train").select("user_id").unique()
    codes = pl.read_parquet(run / "quantize" / "codes.parquet").filter(pl.col("fold") == -1)
    codes = codes.join(train_users, on="user_id")
    for place in found.maps:
        assert sorted(place.codes) == sorted(codes[place.facet].to_list())
        assert place.nearest > 0.6


def test_a_run_of_another_data_set_is_refused(held_out: Run, tmp_path: Path) -> None:
    """Codes and rows of two splits are never mixed."""
    other = easy_set(tmp_path / "other", users=40, seed=9)
    with pytest.raises(SplitMismatchError, match="another split"):
        explain_run(other, held_out.path)
