"""What every entry of QUANTIZERS promises, on profiles with planted groups: three in one facet, two in the other."""

from pathlib import Path

import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from tests.training.quantize.test_m_step import CONFIG, FOLDS, ITEMS, SIZES, USERS, _Case
from userip.training.methods.em_state import EMState
from userip.training.quantize import QUANTIZERS


@pytest.fixture(params=sorted(QUANTIZERS))
def kind(request: pytest.FixtureRequest) -> str:
    """Every quantizer in turn."""
    return str(request.param)


def _fit(kind: str, directory: Path, seed: int = 0) -> tuple[_Case, EMState]:
    directory.mkdir()
    case = _Case(directory, FOLDS)
    return case, QUANTIZERS[kind](case.z, case.table, case.clicks, SIZES, ITEMS, CONFIG, seed)


def test_planted_groups_are_found(kind: str, tmp_path: Path) -> None:
    """Codes lie below the facet's size and part users as they were planted."""
    case, state = _fit(kind, tmp_path / "a")
    codes = state.assign(case.table[case.views.full])[:USERS]  # [n, J]
    user = torch.arange(USERS)
    for j, (size, planted) in enumerate(zip(SIZES, (user % 3, user // 3 % 2), strict=True)):
        assert 0 <= int(codes[:, j].min()) <= int(codes[:, j].max()) < size
        assert adjusted_rand_score(planted, codes[:, j]) == 1.0


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
    read = EMState.load(tmp_path / "state.safetensors")
    together = state.assign(z)
    assert torch.equal(torch.cat([read.assign(one[None]) for one in z]), together)
