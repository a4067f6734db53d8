"""What every entry of QUANTIZERS promises, on profiles with planted groups: three in one facet, two in the other."""

from pathlib import Path

import polars as pl
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from tests.training.quantize.test_m_step import FACETS, FOLDS, SIZES, USERS, _Case
from tests.training.tiny_run import easy_set, train
from userip.release.manifest import read_manifest
from userip.scoring.releases.golden_check import check_golden
from userip.scoring.releases.loaded_release import load_release
from userip.training.config import load_config
from userip.training.errors import ConfigError
from userip.training.fold_in import FoldIn
from userip.training.methods.em_state import EMState
from userip.training.quantize import QUANTIZERS
from userip.training.quantize.config import QuantizeConfig
from userip.training.quantize.protocol import Alternating
from userip.training.run import steps_of


@pytest.fixture(params=sorted(QUANTIZERS))
def kind(request: pytest.FixtureRequest) -> str:
    """Every quantizer in turn."""
    return str(request.param)


def _settings(kind: str) -> QuantizeConfig:
    given = {"kind": kind, "restarts": 3, "surrogate_epochs": 3, "surrogate_lr": 2e-2, "click_weight": 4.0}
    return QUANTIZERS[kind].settings.model_validate(given)


def _fit(kind: str, directory: Path, seed: int = 0) -> tuple[_Case, EMState]:
    directory.mkdir()
    case = _Case(directory, FOLDS)
    return case, QUANTIZERS[kind].fit(case.problem(seed), _settings(kind))


def test_planted_groups_are_found(kind: str, tmp_path: Path) -> None:
    """Codes lie below their sizes; a facet's first code has its name and size, and parts users as they were planted."""
    case, state = _fit(kind, tmp_path / "a")
    named = QUANTIZERS[kind].codes(FACETS, _settings(kind))
    codes = state.assign(case.table[case.views.full])[:USERS]  # [n, C]
    assert codes.shape[1] == len(named) == len({facet.name for facet in named})
    assert codes.min() >= 0
    assert all(int(codes[:, j].max()) < facet.size for j, facet in enumerate(named))
    user = torch.arange(USERS)
    for facet, planted in zip(FACETS, (user % 3, user // 3 % 2), strict=True):
        assert adjusted_rand_score(planted, codes[:, named.index(facet)]) == 1.0


def test_code_vectors_add_up_to_the_profile(kind: str, tmp_path: Path) -> None:
    """The sum of the vectors of a user's codes is within the noise of the planted centre that the z came from."""
    case, state = _fit(kind, tmp_path / "a")
    for j, book in enumerate(state.codebooks):
        codes = book.assign(case.z[:, j]).reshape(len(case.z), -1)
        found = sum((level[codes[:, one]] for one, level in enumerate(book.levels())), torch.zeros(()))
        assert len(book.levels()) == codes.shape[1] == len(QUANTIZERS[kind].codes((FACETS[j],), _settings(kind)))
        assert float((found - case.z[:, j]).square().mean()) < 0.02  # the noise is .1 per dimension
    assert tuple(facet.size for facet in FACETS) == SIZES


def test_the_same_seed_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    """Written twice, the state is the same file."""
    files = []
    for name in ("a", "b"):
        _, state = _fit(kind, tmp_path / name, seed=3)
        files.append(tmp_path / f"{name}.safetensors")
        state.save(files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_is_read_back_assigns_the_same_codes(kind: str, tmp_path: Path) -> None:
    """Fold-in reads the state from disk; one user at a time gets the code that all got together."""
    case, state = _fit(kind, tmp_path / "a")
    state.save(tmp_path / "state.safetensors")
    z = case.table[case.views.full]
    read = EMState.load(tmp_path / "state.safetensors", QUANTIZERS[kind].open)
    together = state.assign(z)
    assert torch.equal(torch.cat([read.assign(one[None]) for one in z]), together)


def test_it_alternates_where_it_says_so(kind: str) -> None:
    """quantize.em_rounds is refused where there is no M step, with the setting's name; else the entry has one."""
    assert isinstance(QUANTIZERS[kind], Alternating) == QUANTIZERS[kind].refines
    given = [f"quantize.kind={kind}", "quantize.em_rounds=1"]
    if QUANTIZERS[kind].refines:
        assert load_config(settings=given, environment={}).quantize.em_rounds == 1
    else:
        with pytest.raises(ConfigError, match=rf"^quantize\.em_rounds: quantizer '{kind}' has no M step; set it to 0$"):
            load_config(settings=given, environment={})


def test_a_run_is_exported_served_and_folded_in(kind: str, tmp_path: Path) -> None:
    """Every code is a column of the release with its size, and a held-out user gets the codes of training again."""
    dataset = easy_set(tmp_path / "data", users=60, split="users")
    config = load_config("quick", None, ["method=counts", f"quantize.kind={kind}", "fit.epochs=1"], environment={})
    run = train(dataset, tmp_path / "run", config, steps_of(config))
    manifest = read_manifest(run / "release")
    assert {facet.name: facet.codebook_size for facet in manifest.facets} == config.code_sizes
    rows = dataset.rows("history")
    folded = FoldIn.open(run, config, 0).codes(rows)
    known = pl.read_parquet(run / "quantize" / "codes.parquet").filter(pl.col("fold") == -1)
    assert folded.height == rows["user_id"].n_unique() > 10
    assert folded.equals(known.join(folded, on="user_id", how="semi").sort("user_id").select(folded.columns))
    assert check_golden(load_release(run / "release"), run / "release") > 0
