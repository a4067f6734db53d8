"""Maps of codes: principal components in the quantizer's metric."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.decomposition import PCA

from userip.evaluation.explain.maps import code_map, read_codebooks
from userip.models.quantizers.codebook import Codebook
from userip.training.errors import DataError

UNKNOWN = 65535


def _blobs(users: int = 90, m: int = 1) -> tuple[torch.Tensor, np.ndarray[tuple[int, ...], np.dtype[np.uint16]]]:
    """z [users, 2, m, 6]: facet 0 has three far groups by user mod 3, facet 1 none; codes are the groups."""
    draw = np.random.default_rng(0)
    z = draw.standard_normal((users, 2, m, 6))
    z[:, 0] += 8 * draw.standard_normal((3, m, 6))[np.arange(users) % 3]
    codes = np.stack([np.arange(users) % 3, np.arange(users) % 2], axis=1).astype(np.uint16)
    return torch.from_numpy(z).float(), codes


def _books(z: torch.Tensor, scale: torch.Tensor) -> dict[str, Codebook]:
    """Codes at the means of the groups."""
    flat, number = z.flatten(2), torch.arange(len(z))
    groups = {"hobby": 3, "background": 2}
    return {
        name: Codebook(torch.stack([flat[number % size == k, j].mean(0) for k in range(size)]), scale)
        for j, (name, size) in enumerate(groups.items())
    }


@pytest.mark.parametrize("m", [1, 2])
def test_places_are_principal_components_in_the_metric(m: int) -> None:
    """Against scikit-learn on z times the metric, up to the direction of an axis."""
    z, codes = _blobs(m=m)
    scale = torch.randn(9, 6 * m, generator=torch.Generator().manual_seed(1))
    for j, found in enumerate(code_map(z, codes, _books(z, scale))):
        scaled = (z[:, j].flatten(1) @ scale.T).double().numpy()
        oracle = PCA(2).fit(scaled)
        expected = oracle.transform(scaled)
        assert found.explained == pytest.approx(tuple(oracle.explained_variance_ratio_), abs=1e-6)
        for axis, place in enumerate((found.x, found.y)):
            sign = np.sign(place[0] * expected[0, axis])
            assert np.allclose(place, sign * expected[:, axis], atol=1e-4)
        assert list(found.codes) == codes[:, j].tolist()


def test_groups_lie_apart() -> None:
    """Far groups are far on the map: every user is nearest to the middle of the own code's users."""
    z, codes = _blobs()
    found = code_map(z, codes, _books(z, torch.eye(6)))[0]
    users = np.stack([found.x, found.y], axis=1)
    places = np.stack([users[np.array(found.codes) == code].mean(axis=0) for code in range(3)])
    nearest = ((users[:, None] - places[None]) ** 2).sum(-1).argmin(1)
    assert nearest.tolist() == list(found.codes)
    assert found.nearest == 1.0


def test_codes_that_do_not_belong_to_z_are_found_out() -> None:
    """`nearest` is the share of users whose code is nearest to their z: turned codes are nobody's."""
    z, codes = _blobs()
    turned = np.stack([(codes[:, 0] + 1) % 3, codes[:, 1]], axis=1)
    assert code_map(z, turned, _books(z, torch.eye(6)))[0].nearest == 0.0


def test_a_map_is_a_sample_without_unknown_users() -> None:
    """At most `most` users, drawn without replacement, the same again; nobody without a code."""
    z, codes = _blobs()
    codes[:30, 0] = UNKNOWN
    books = _books(z, torch.eye(6))
    first, again = (code_map(z, codes, books, most=20, seed=3) for _ in range(2))
    assert first == again
    assert len(set(first[0].users)) == 20 == len(first[0].x)
    assert min(first[0].users) >= 30
    assert list(first[0].codes) == codes[list(first[0].users), 0].tolist()
    assert first[0].users != code_map(z, codes, books, most=20, seed=4)[0].users


def test_shapes_that_do_not_fit_are_refused() -> None:
    """Codes of other users than z has."""
    z, codes = _blobs()
    with pytest.raises(ValueError, match=r"codes \[80, 2\]"):
        code_map(z, codes[:80], _books(z, torch.eye(6)))


def test_codebooks_are_read_by_facet(tmp_path: Path) -> None:
    """Codes and metric of each facet; a missing file or facet is named with the fix."""
    with pytest.raises(DataError, match=r"codebooks.safetensors: not found; run `userip quantize`"):
        read_codebooks(tmp_path, ("hobby",))
    tensors = {"hobby.codes": torch.randn(3, 4), "hobby.scale": torch.eye(4)}
    save_file(tensors, tmp_path / "codebooks.safetensors")
    book = read_codebooks(tmp_path, ("hobby",))["hobby"]
    assert torch.equal(book.codes, tensors["hobby.codes"])
    assert torch.equal(book.scale, tensors["hobby.scale"])
    with pytest.raises(DataError, match="no codebook of the facet 'background'"):
        read_codebooks(tmp_path, ("hobby", "background"))
