"""What a prediction depends on, and where it is kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from userip.evaluation.fits import cache
from userip.evaluation.fits.cache import Stored
from userip.evaluation.fits.runs import Profiles
from userip.evaluation.fits.trials import Trial
from userip.evaluation.plan import DENSE, Experiment, Preset, plan
from userip.training.config import TrainConfig
from userip.training.recommender.config import RecommenderConfig

PROFILES = Profiles(Path("run"), TrainConfig(), 0, {step: step for step in ("language", "infer", "quantize")})
OTHER = replace(PROFILES, marks={step: f"another {step}" for step in PROFILES.marks})
SIZES = TrainConfig(facets=tuple(facet.model_copy(update={"size": 4}) for facet in TrainConfig().facets))


def _trial(method: str, *, seed: int = 0, profiles: Profiles | None = PROFILES, **experiment: str) -> Trial:
    return Trial(Experiment("controls", method, **experiment), seed, RecommenderConfig(), profiles)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["none", "constant", "kmeans", "userip", "retrained"])
def test_a_fit_depends_on_its_settings_seed_network_and_data(method: str) -> None:
    """Another learning rate, seed, network or split gives another key."""
    trial = _trial(method)
    others = [
        replace(trial, settings=RecommenderConfig(lr=0.5)),
        replace(trial, settings=RecommenderConfig(user_field=False)),
        replace(trial, seed=1),
        replace(trial, experiment=replace(trial.experiment, recommender="pnn")),
    ]
    keys = {one.key("split") for one in (trial, *others)}
    assert len(keys | {trial.key("another split")}) == len(others) + 2


def test_the_section_that_shows_a_fit_is_no_part_of_its_key() -> None:
    """The DCN without codes of the controls is that of the recommenders: it is fitted once."""
    trial = _trial("none")
    shown = replace(trial.experiment, section="recommenders")
    assert trial.key("split") == replace(trial, experiment=shown).key("split")


def test_codes_count_where_they_are_used() -> None:
    """Another inference redoes what uses its codes or their shape; controls of their own depend on sizes and folds."""
    for method in ("userip", "random", "shuffled", "constant"):
        assert _trial(method).key("split") != _trial(method, profiles=OTHER).key("split")
    assert _trial("kmeans").key("split") == _trial("kmeans", profiles=OTHER).key("split")
    smaller = replace(PROFILES, config=SIZES)
    assert _trial("kmeans").key("split") != _trial("kmeans", profiles=smaller).key("split")
    assert _trial("pepler-style").key("split") != _trial("pepler-style", profiles=OTHER).key("split")
    assert _trial("userip").key("split") != _trial("userip", variant=DENSE).key("split")


def test_the_plan_names_no_line_twice() -> None:
    """Every experiment of either preset stands once, in the tables' order; held-out users add retraining."""
    presets: tuple[Preset, ...] = ("quick", "full")
    for preset in presets:
        experiments = plan(preset, "users", "userip")
        assert len(set(experiments)) == len(experiments)
        without = plan(preset, "random", "userip")
        assert "retrained" not in {experiment.method for experiment in without}
        assert len({experiment.section for experiment in experiments}) == (3 if preset == "quick" else 6)


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
