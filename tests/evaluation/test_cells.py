"""What a prediction depends on, and where it is kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from userip.evaluation import cache
from userip.evaluation.cache import Stored
from userip.evaluation.cells import Task
from userip.evaluation.plan import DENSE, Line, Preset, plan
from userip.evaluation.runs import Profiles
from userip.training.config import TrainConfig
from userip.training.recommender.config import RecommenderConfig

PROFILES = Profiles(Path("run"), TrainConfig(), 0, "codes", "infer", "language")
OTHER = replace(PROFILES, mark="other codes", infer_mark="other infer", language_mark="other language")
SIZES = TrainConfig(facets=tuple(facet.model_copy(update={"size": 4}) for facet in TrainConfig().facets))


def _task(method: str, *, seed: int = 0, profiles: Profiles | None = PROFILES, **line: str) -> Task:
    return Task(Line("controls", method, **line), seed, RecommenderConfig(), profiles)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["none", "constant", "kmeans", "userip", "retrained"])
def test_a_fit_depends_on_its_settings_seed_network_and_data(method: str) -> None:
    """Another learning rate, seed, network or split gives another key."""
    task = _task(method)
    others = [
        replace(task, settings=RecommenderConfig(lr=0.5)),
        replace(task, settings=RecommenderConfig(user_field=False)),
        replace(task, seed=1),
        replace(task, line=replace(task.line, recommender="pnn")),
    ]
    keys = {one.key("split") for one in (task, *others)}
    assert len(keys | {task.key("another split")}) == len(others) + 2


def test_the_section_that_shows_a_fit_is_no_part_of_its_key() -> None:
    """The DCN without codes of the controls is that of the recommenders: it is fitted once."""
    task = _task("none")
    assert task.key("split") == replace(task, line=replace(task.line, section="recommenders")).key("split")


def test_codes_count_where_they_are_used() -> None:
    """Another inference redoes what uses its codes or their shape; controls of their own depend on sizes and folds."""
    for method in ("userip", "random", "shuffled", "constant"):
        assert _task(method).key("split") != _task(method, profiles=OTHER).key("split")
    assert _task("kmeans").key("split") == _task("kmeans", profiles=OTHER).key("split")
    smaller = replace(PROFILES, config=SIZES)
    assert _task("kmeans").key("split") != _task("kmeans", profiles=smaller).key("split")
    assert _task("pepler-style").key("split") != _task("pepler-style", profiles=OTHER).key("split")
    assert _task("userip").key("split") != _task("userip", variant=DENSE).key("split")


def test_the_plan_names_no_line_twice() -> None:
    """Every line of either preset stands once, in the tables' order; held-out users add retraining."""
    presets: tuple[Preset, ...] = ("quick", "full")
    for preset in presets:
        lines = plan(preset, "users")
        assert len(set(lines)) == len(lines)
        without = plan(preset, "random")
        assert "retrained" not in {line.method for line in without}
        assert len({line.section for line in lines}) == (3 if preset == "quick" else 6)


def test_what_is_stored_is_read_back(tmp_path: Path) -> None:
    """Predictions and seconds come back as they were; nothing is left beside them."""
    stored = Stored(np.array([0.1, 0.2], np.float32), np.array([[0.3], [0.4]], np.float32), 1.5)
    cache.write(tmp_path, "key", stored)
    found = cache.read(tmp_path, "key")
    assert found is not None
    assert np.array_equal(found.valid, stored.valid)
    assert np.array_equal(found.test, stored.test)
    assert found.seconds == 1.5
    assert [file.name for file in tmp_path.iterdir()] == ["key.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"text"])
def test_a_damaged_file_counts_as_missing(tmp_path: Path, content: bytes) -> None:
    """Half a file, or one of something else, is no prediction: it is made anew."""
    (tmp_path / "key.npz").write_bytes(content)
    assert cache.read(tmp_path, "key") is None
    assert cache.read(tmp_path, "none") is None
