"""Codebooks: assignment, gradient routing, M steps, revival and k-means, against hand-made and library oracles."""

import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from userip.models.quantizers.codebook import Codebook, kmeans

PLAIN = torch.eye(3)


def _book(kind: str = "both", scale: Tensor = PLAIN) -> Codebook:
    codes = torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    return Codebook(codes, scale, kind)


def _profiles(n: int = 40, width: int = 3, seed: int = 0) -> Tensor:
    return 3 * torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def _planted(clusters: int, width: int, each: int = 40, seed: int = 5) -> tuple[Tensor, list[int]]:
    """Well separated clusters and who belongs to which."""
    generator = torch.Generator().manual_seed(seed)
    centres = 4 * torch.randn(clusters, width, generator=generator)
    z = centres.repeat_interleave(each, 0) + 0.3 * torch.randn(clusters * each, width, generator=generator)
    return z, [k for k in range(clusters) for _ in range(each)]


def test_the_nearest_code_is_chosen() -> None:
    """Equation 6: indices are the argmin of distances computed one by one; ties go to the lowest index."""
    z, book = _profiles(), _book()
    slow = [min(range(3), key=lambda k: float((row - book.codes.detach()[k]).square().sum())) for row in z]
    assert book.assign(z).tolist() == slow
    assert book.assign(torch.tensor([[2.0, 2.0, 0.0], [2.0, 0.0, 0.0]])).tolist() == [0, 0]


def test_distances_are_measured_in_the_metric() -> None:
    """A loud dimension decides until the metric quietens it."""
    z = torch.tensor([[3.0, 0.9, 0.0]])
    codes = torch.tensor([[4.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert Codebook(codes, PLAIN).assign(z).tolist() == [0]
    assert Codebook(codes, torch.diag(torch.tensor([0.01, 1.0, 1.0]))).assign(z).tolist() == [1]


def test_profiles_far_from_the_origin_are_told_apart() -> None:
    """Moving all profiles and codes away together changes no assignment, though squares lose their last digits."""
    z, book = _profiles(200), _book()
    far = Codebook(book.codes.detach() + 5_000, PLAIN)
    margin = torch.cdist(z, book.codes.detach()).square().topk(2, largest=False).values
    clear = (margin[:, 1] - margin[:, 0]) > 0.1
    assert torch.equal(far.assign(z + 5_000)[clear], book.assign(z)[clear])


@pytest.mark.parametrize("kind", ["both", "z"])
def test_the_straight_through_value_is_the_code_to_the_last_bit(kind: str) -> None:
    """Forward, the gate is e_k itself; the commitment is the squared distance."""
    z, book = _profiles().requires_grad_(True), _book(kind)
    got = book(z)
    assert torch.equal(got.quantized, book.codes[got.indices])
    assert torch.allclose(got.commit_loss, (z - book.codes[got.indices]).square().sum(1))
    assert torch.allclose(book(z, reduction="mean").commit_loss, got.commit_loss / 3)


@pytest.mark.parametrize("kind", ["both", "z"])
def test_the_gate_passes_gradients_on(kind: str) -> None:
    """Both readings hand the gradient to z unchanged; `both` adds it to the chosen codes, `z` keeps codes out."""
    z, book = _profiles().requires_grad_(True), _book(kind)
    pull = _profiles(seed=1)
    got = book(z)
    (got.quantized * pull).sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, pull)
    if kind == "z":
        assert book.codes.grad is None
    else:
        assert book.codes.grad is not None
        for k in range(3):
            assert torch.allclose(book.codes.grad[k], pull[got.indices == k].sum(0), atol=1e-5)


def test_the_commitment_moves_z_alone() -> None:
    """|| z - sg[e] ||^2: gradient 2 (z - e) to z, none to the codes."""
    z, book = _profiles().requires_grad_(True), _book()
    got = book(z)
    got.commit_loss.sum().backward()
    assert z.grad is not None
    assert torch.allclose(z.grad, 2 * (z - book.codes[got.indices]).detach())
    assert book.codes.grad is None


def test_the_codebook_term_moves_the_chosen_codes_alone() -> None:
    """|| sg[z] - e ||^2: none to z, 2 sum (e - z) to a chosen code, exactly 0 to one that nobody chose."""
    z, book = _profiles().requires_grad_(True), _book()
    some = z.detach()[book.assign(z) != 2].requires_grad_(True)
    book.codebook_loss(some).sum().backward()  # type: ignore[no-untyped-call]
    index = book.assign(some)
    assert some.grad is None
    assert book.codes.grad is not None
    assert book.codes.grad[2].abs().max() == 0
    for k in (0, 1):
        expected = 2 * (book.codes.detach()[k] - some.detach()[index == k]).sum(0)
        assert torch.allclose(book.codes.grad[k], expected, atol=1e-4)
    assert torch.allclose(book.codebook_loss(z, reduction="mean"), book.codebook_loss(z) / 3)


def test_the_exact_step_is_the_mean() -> None:
    """decay 0: every chosen code becomes the mean of its profiles; one that nobody chose stays."""
    z, book = _profiles(), _book()
    z = z[book.assign(z) != 2]
    index = book.move_to_means(z)
    for k in (0, 1):
        assert torch.allclose(book.codes[k], z[index == k].mean(0), atol=1e-6)
    assert book.codes[2].tolist() == [0.0, 4.0, 0.0]


def test_the_gradient_of_the_codebook_term_vanishes_at_the_means() -> None:
    """The closed-form step is the minimum of the codebook term for the assignment it was made of."""
    z, book = _profiles(), _book()
    index = book.move_to_means(z)
    (z - book.codes[index]).square().sum().backward()  # type: ignore[no-untyped-call]
    assert book.codes.grad is not None
    assert book.codes.grad.abs().max() < 1e-3


def test_a_moving_average_keeps_part_of_the_code() -> None:
    """decay .9: nine tenths of the code and one tenth of the mean."""
    z, book, exact = _profiles(), _book(), _book()
    before = book.codes.detach().clone()
    book.move_to_means(z, decay=0.9)
    exact.move_to_means(z)
    assert torch.allclose(book.codes, 0.9 * before + 0.1 * exact.codes, atol=1e-6)


def test_dead_codes_are_put_where_profiles_are_served_worst() -> None:
    """The farthest profile first; two dead codes go to two places; living codes stay."""
    z = torch.cat([torch.zeros(50, 3), torch.tensor([[9.0, 0.0, 0.0], [0.0, 7.0, 0.0], [9.0, 0.5, 0.0]])])
    book = Codebook(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 90.0], [0.0, 0.0, 80.0]]), PLAIN)
    assert set(book.assign(z).tolist()) == {0}
    assert book.revive(z, min_share=0.01) == 2
    assert book.codes.tolist() == [[0.0, 0.0, 0.0], [9.0, 0.5, 0.0], [0.0, 7.0, 0.0]]
    assert book.revive(z, min_share=0.01) == 0


def test_revival_looks_at_the_share() -> None:
    """A code with fewer profiles than its share is moved though it is not empty."""
    z = torch.cat([torch.zeros(97, 3), torch.full((2, 3), 3.0), torch.full((1, 3), -9.0)])
    codes = torch.tensor([[0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
    assert Codebook(codes, PLAIN).revive(z, min_share=0.01) == 0
    moved = Codebook(codes, PLAIN)
    assert moved.revive(z, min_share=0.05) == 1
    assert moved.codes[1].tolist() == [-9.0, -9.0, -9.0]


@pytest.mark.parametrize(("clusters", "width"), [(4, 16), (8, 3), (16, 128)])
def test_kmeans_recovers_planted_clusters(clusters: int, width: int) -> None:
    """Adjusted Rand index 1 with the planted truth, and an inertia no worse than scikit-learn's."""
    z, truth = _planted(clusters, width)
    scale = torch.eye(width)
    codes = kmeans(z, clusters, scale, restarts=10, seed=0)
    index = Codebook(codes, scale).assign(z)
    assert adjusted_rand_score(truth, index.tolist()) == pytest.approx(1.0)
    library = KMeans(clusters, n_init=10, random_state=0).fit(z.numpy())
    inertia = float((z - codes[index]).square().sum())
    assert inertia <= float(library.inertia_) * 1.001


def test_kmeans_works_in_the_metric() -> None:
    """Clusters in a quiet dimension are found once the loud one is standardised; codes are means of z itself."""
    z, truth = _planted(3, 2)
    noise = 1e3 * torch.randn(len(z), 1, generator=torch.Generator().manual_seed(1))
    loud = torch.cat([z, noise], dim=1)
    plain = Codebook(kmeans(loud, 3, PLAIN, restarts=5, seed=0), PLAIN)
    assert adjusted_rand_score(truth, plain.assign(loud).tolist()) < 0.5
    scale = torch.diag(torch.tensor([1.0, 1.0, 1e-4]))
    book = Codebook(kmeans(loud, 3, scale, restarts=5, seed=0), scale)
    index = book.assign(loud)
    assert adjusted_rand_score(truth, index.tolist()) == pytest.approx(1.0)
    for k in range(3):
        assert torch.allclose(book.codes[k], loud[index == k].mean(0), rtol=1e-3, atol=1e-2)


def test_kmeans_is_deterministic_and_seeded() -> None:
    """The same seed gives the same bytes."""
    z = _profiles(100)
    runs = [kmeans(z, 5, PLAIN, restarts=2, seed=seed) for seed in (3, 3)]
    assert torch.equal(runs[0], runs[1])


@pytest.mark.parametrize("restarts", [1, 4])
def test_more_codes_than_points_are_duplicates(restarts: int) -> None:
    """With 3 distinct points and 7 codes every point sits on a code, and nothing is lost or not a number."""
    z = torch.eye(3).repeat_interleave(4, 0)
    book = Codebook(kmeans(z, 7, PLAIN, restarts=restarts, seed=0), PLAIN)
    index = book.assign(z)
    assert book.codes.shape == (7, 3)
    assert torch.allclose(book.codes[index], z)
    assert len(set(index.tolist())) == 3
    assert book.revive(z, min_share=0.01) == 4
    assert torch.isfinite(book.codes).all()


def test_kmeans_of_nobody_says_so() -> None:
    """No profile, no codes: an error, not an endless search."""
    with pytest.raises(ValueError, match="at least one profile"):
        kmeans(torch.zeros(0, 3), 2, PLAIN, restarts=1, seed=0)


def test_an_unknown_gate_is_refused() -> None:
    """The message names the two readings."""
    with pytest.raises(ValueError, match="'both' or 'z'"):
        Codebook(torch.zeros(2, 3), PLAIN, "rotation")
