"""What every profile method promises; one run of each, on simulated users of whom some are held out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from tests.fixtures.runs import copy_steps
from tests.training.tiny_run import HASTE, SETTINGS, contents, easy_set, train
from userip.training.config import TrainConfig, load_config
from userip.training.crossfit.histories import Histories
from userip.training.crossfit.views import CrossFitViews, ViewKeys
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError
from userip.training.fold_in import FoldIn
from userip.training.language.frozen import FrozenLM
from userip.training.methods import METHODS
from userip.training.methods.protocol import Profiler
from userip.training.methods.step import views_of
from userip.training.methods.table import ProfileTable
from userip.training.run import run_step, steps_of
from userip.training.threads import one_thread

pytestmark = pytest.mark.slow
# Settings that make a method quick, and how far a profile may differ between batches: none where nothing is rounded.
QUICK: Final[Mapping[str, tuple[str, ...]]] = {"userip": (*SETTINGS, *HASTE, "infer.batch_tokens=1500")}
TOLERANCE: Final[Mapping[str, float]] = {"userip": 1e-5}


class Made(NamedTuple):
    """A method's run up to its codes."""

    dataset: Dataset
    run: Path
    config: TrainConfig

    @property
    def views(self) -> CrossFitViews:
        return views_of(self.dataset, self.config, 0)

    @property
    def table(self) -> ProfileTable:
        return ProfileTable.open(self.run / "infer", "z")

    def open(self) -> Profiler:
        return self.config.profile_method.open(self.run, self.run / "infer", self.config, 0)


@pytest.fixture(scope="module", params=METHODS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Trained on one thread."""
    place = tmp_path_factory.mktemp(request.param)
    config = load_config("quick", None, [f"method={request.param}", *QUICK.get(request.param, ())], environment={})
    dataset = easy_set(place / "data", users=60, split="users")
    return Made(dataset, train(dataset, place / "run", config, _steps(config)), config)


def _steps(config: TrainConfig) -> list[str]:
    steps = steps_of(config)
    return steps[: steps.index("quantize") + 1]


def _nobody() -> Histories:
    return Histories(np.zeros(2, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))


def test_an_interrupted_fit_goes_on_and_ends_with_the_same_bytes(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it writes profiles and started again, or done in one go: byte for byte the same folder."""
    copy_steps(made.run, tmp_path, *_steps(made.config)[:-2])
    left, real = [1], ProfileTable.write

    def write(self: ProfileTable, batch: int, views: np.ndarray, values: torch.Tensor) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        real(self, batch, views, values)

    several = len(made.open().batches(made.views)) > 1
    with one_thread():
        with monkeypatch.context() as patch:
            patch.setattr(ProfileTable, "write", write if several else _killed)
            with pytest.raises(KeyboardInterrupt):
                run_step("infer", made.dataset, tmp_path, made.config, 0)
        run_step("infer", made.dataset, tmp_path, made.config, 0)
    assert contents(tmp_path / "infer", "step.json") == contents(made.run / "infer", "step.json")


def _killed(*given: object) -> None:
    raise KeyboardInterrupt


def test_a_profile_is_its_own_historys_alone(made: Made) -> None:
    """In any order and any split into batches, a view has the z that the step wrote."""
    profiler, views = made.open(), made.views
    some = np.random.default_rng(0).permutation(len(views))[:24]
    with one_thread():
        for members in (some, some[:7], some[7:8]):
            z = profiler.infer(views.of_views(members), views.keys(members))
            worst = float((z - made.table[members]).abs().max())
            assert worst <= TOLERANCE.get(made.config.method, 0.0)
    assert z.shape[1:] == profiler.shape
    assert z.dtype == torch.float32


def test_no_label_of_a_fold_reaches_the_view_without_it(made: Made) -> None:
    """PLANTED: with the labels and ratings of fold 0 turned round, views without it stay; whole histories do not."""
    views = made.views
    inside = views.fold == 0
    rating = views.histories.rating
    turned = None if rating is None else np.where(inside, 6 - rating, rating).astype(np.float32)
    some = Histories(views.histories.offsets, views.histories.items, views.histories.liked ^ inside, turned)
    other = CrossFitViews(views.users, views.trained, some, views.fold, views.user, views.without)
    profiler = made.open()
    for fold, same in ((0, True), (-1, False)):
        members = np.flatnonzero((views.without == fold) & (views.user < views.trained))[:16]
        with one_thread():
            z = [profiler.infer(one.of_views(members), one.keys(members)) for one in (views, other)]
        assert torch.equal(*z) == same


def test_nobody_has_a_code(made: Made) -> None:
    """A user without history gets a finite z, and no code: none of a file's items is in the catalogue."""
    profiler = made.open()
    with one_thread():
        z = profiler.infer(_nobody(), ViewKeys(np.zeros(1, np.int64), np.full(1, -1, np.int8)))
        rows = made.dataset.rows("history").head(3).with_columns(item_id=pl.lit("no such item"))
        codes = FoldIn.open(made.run, made.config, 0).codes(rows)
    assert torch.isfinite(z).all()
    assert codes.drop("user_id").null_count().row(0) == (codes.height,) * len(made.config.code_sizes)


def test_the_history_of_training_gets_the_code_of_training(made: Made) -> None:
    """Held-out users who are folded in with the history that they had."""
    rows = made.dataset.rows("history")
    with one_thread():
        folded = FoldIn.open(made.run, made.config, 0).codes(rows)
    known = pl.read_parquet(made.run / "quantize" / "codes.parquet").filter(pl.col("fold") == -1)
    both = folded.join(known, on="user_id", suffix="_trained")
    assert both.height == rows["user_id"].n_unique() > 10
    for facet in made.config.sizes:
        assert both[facet].to_list() == both[f"{facet}_trained"].to_list()


def test_every_code_is_described(made: Made) -> None:
    """One text for each code of each facet, and codebooks of the sizes that the facets have."""
    books = load_file(made.run / "quantize" / "codebooks.safetensors")
    assert list(made.config.sizes) == [facet.name for facet in made.config.profile_facets]
    for facet, size in made.config.sizes.items():
        codes = books[f"{facet}.codes"]
        texts = made.config.profile_method.describe(made.run / "infer", facet, codes)
        assert len(texts) == len(codes) == size


def test_quantizing_loads_no_language_model(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default no text is read after the infer step; the codes are those of before."""
    copy_steps(made.run, tmp_path, *_steps(made.config)[:-1])
    monkeypatch.setattr(FrozenLM, "load", _killed)
    with one_thread():
        run_step("quantize", made.dataset, tmp_path, made.config, 0)
    assert contents(tmp_path / "quantize", "step.json") == contents(made.run / "quantize", "step.json")


def test_rounds_are_refused_where_nothing_can_refine() -> None:
    """One line that names the setting, before any work."""
    for name, method in METHODS.items():
        given = [f"method={name}", "quantize.em_rounds=1"]
        if method.refines:
            assert load_config(settings=given, environment={}).quantize.em_rounds == 1
            continue
        with pytest.raises(ConfigError, match=rf"^quantize\.em_rounds: method '{name}' has no E step.*set it to 0$"):
            load_config(settings=given, environment={})
