"""What an M step leaves on disk."""

from pathlib import Path

import pytest
import torch

from userip.models.quantizers.codebook import Codebook
from userip.models.quantizers.surrogate import Surrogate
from userip.training.methods.em_state import EMState
from userip.training.quantize import QUANTIZERS

J, D, ITEMS = 2, 6, 9
KMEANS = QUANTIZERS["kmeans"]


def _state(*, surrogate: bool = True) -> EMState:
    torch.manual_seed(0)
    books = [
        Codebook(torch.randn(4, D), torch.randn(5, D), "both"),
        Codebook(torch.randn(3, D), torch.eye(D), "z"),
    ]
    phi = Surrogate(ITEMS, list(torch.randn(J, D)), list(torch.rand(J, D) + 0.5)) if surrogate else None
    return EMState(books, phi, rec=0.25, figures={"revived": [0, 1], "codebooks": [{"perplexity": 3.5}]})


@pytest.mark.parametrize("surrogate", [True, False])
def test_saved_and_loaded_is_the_same(tmp_path: Path, surrogate: bool) -> None:
    """Codes, metric, straight-through kind, surrogate, weight and figures come back bit for bit."""
    state = _state(surrogate=surrogate)
    state.save(tmp_path / "round-0.safetensors")
    loaded = EMState.load(tmp_path / "round-0.safetensors", KMEANS.open)
    assert loaded.rec == state.rec
    assert loaded.figures == state.figures
    for book, again in zip(state.flat, loaded.flat, strict=True):
        assert torch.equal(book.codes, again.codes)
        assert torch.equal(book.scale, again.scale)
        assert book.straight_through == again.straight_through
    if state.surrogate is None:
        assert loaded.surrogate is None
        return
    assert loaded.surrogate is not None
    weights, again_weights = state.surrogate.state_dict(), loaded.surrogate.state_dict()
    assert weights.keys() == again_weights.keys()
    assert all(torch.equal(value, again_weights[name]) for name, value in weights.items())


def test_saved_twice_is_the_same_bytes(tmp_path: Path) -> None:
    """Saving is deterministic, also after a load, and leaves nothing beside the file."""
    _state().save(tmp_path / "a")
    EMState.load(tmp_path / "a", KMEANS.open).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"a", "b"}


def test_codes_are_the_nearest_in_each_facets_metric() -> None:
    """Every facet is assigned on its own, by distances after its linear map (brute force as oracle)."""
    state = _state()
    z = torch.randn(20, J, 1, D)
    assigned = state.assign(z)
    assert assigned.shape == (20, J)
    for n in range(20):
        for j, book in enumerate(state.flat):
            distances = [float((book.scale @ (z[n, j, 0] - code)).square().sum()) for code in book.codes.detach()]
            assert assigned[n, j] == distances.index(min(distances))
