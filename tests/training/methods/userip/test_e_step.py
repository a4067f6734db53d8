"""The E step: its terms by hand, where gradients go, and what it promises every user."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.tiny_language import (
    KINDS,
    WIDTH,
    frozen_lm,
    histories,
    language_of,
    random_histories,
    soft_prompts,
)
from userip.models.quantizers.codebook import Codebook, kmeans
from userip.models.quantizers.surrogate import Surrogate
from userip.training.crossfit.histories import Histories
from userip.training.language.language import Language
from userip.training.methods.em_state import EMState
from userip.training.methods.refine_config import RefineConfig
from userip.training.methods.userip.e_step import Objective, Subspace, Terms, e_step, objective_terms, user_nll
from userip.training.quantize.kmeans.config import KMeansConfig
from userip.training.quantize.kmeans.m_step import move_codes

USERS = histories([0, ~4, 7], [], [2, 5, ~8, 1, 10], [3], [~6, ~9], [11, 2, ~0, 4])
WHOLE = Subspace.whole(2, WIDTH, 0.2)


def _objective(kind: str = "both", *, prior: float = 0.02, commitment: float = 0.25, rec: float = 0.5) -> Objective:
    """All terms, with codebooks of 3 codes and a surrogate."""
    torch.manual_seed(4)
    books = [Codebook(soft_prompts(3, facets=1, seed=8 + j)[:, 0, 0], torch.eye(WIDTH), kind) for j in range(2)]
    surrogate = Surrogate(12, [torch.zeros(WIDTH)] * 2, [torch.full((WIDTH,), 0.2)] * 2).eval()
    return Objective(prior=prior, commitment=commitment, rec=rec, codebooks=books, surrogate=surrogate)


def _terms(
    language: Language,
    some: Histories,
    z: Tensor,
    centre: Tensor,
    objective: Objective,
    space: Subspace,
) -> Terms:
    known = torch.from_numpy(some.lengths).clamp(min=1).float()
    return objective_terms(language, language.prompts.batch(some), some, z, space.eps(centre, z), objective, known)


def _step(language: Language, some: Histories, z: Tensor, objective: Objective, **settings: float) -> Tensor:
    chosen = {"steps": 4, "lr": 0.1, "items_per_step": 16} | settings
    return e_step(language, some, z, z, WHOLE, objective,
        steps=int(chosen["steps"]), lr=chosen["lr"], items_per_step=int(chosen["items_per_step"]),
        seed=0, title_stride=int(chosen.get("title_stride", 1)),
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_is_that_of_the_whole_model(kind: str) -> None:
    """Equation 4, with soft tokens that are word embeddings and plain text: cross-entropy of the model's logits."""
    lm = frozen_lm(kind)
    language = language_of(lm, factorised=False, title_weight=0.3, polarity_weight=2.0)
    some = histories([0, ~4, 7])
    batch = language.prompts.batch(some)
    z = lm.embed(torch.tensor([[17, 23]]))[:, :, None].clone()
    got, each = user_nll(language, batch, z, batch.weight)
    embeddings = lm.embed(batch.tokens).clone()
    embeddings[0, language.prompts.prompt.slots[:, 0]] = z[0, :, 0]
    # The block mask matters in the prompt; behind it everybody sees everything, so logits are the model's own
    # when its attention gets the same mask.
    with torch.no_grad():
        logits = lm.model(
            inputs_embeds=embeddings, attention_mask=batch.mask(torch.float32), position_ids=batch.position
        ).logits[0]
    P, n = len(language.prompts.prompt.tokens), len(batch.target)  # padding may follow
    expected = torch.nn.functional.cross_entropy(logits[P - 1 :][:n], batch.tokens[0, P:][:n], reduction="none")
    assert torch.allclose(each, expected, atol=1e-4)
    assert torch.allclose(got[0], (expected * batch.weight).sum(), atol=1e-3)


def test_the_other_terms_by_hand() -> None:
    """Prior and commitment per item of the whole history, BCE as a mean over it; weights of 0 switch terms off."""
    lm = frozen_lm("gpt2")
    language, objective = language_of(lm), _objective(prior=1.0)
    z, centre = soft_prompts(6), soft_prompts(6, seed=1)
    terms = _terms(language, USERS, z, centre, objective, WHOLE)
    assert objective.surrogate is not None
    for user, length in enumerate(USERS.lengths.tolist()):
        n = max(length, 1)
        assert float(terms.prior[user]) == pytest.approx(float(((z - centre)[user] / 0.2).square().sum()) / n, rel=1e-4)
        codes = [book.codes.detach() for book in objective.codebooks]
        nearest = [torch.cdist(z[user, j], codes[j]).argmin() for j in range(2)]
        distance = sum(float((z[user, j, 0] - codes[j][nearest[j]]).square().sum()) for j in range(2))
        assert float(terms.commitment[user]) == pytest.approx(0.25 * distance / n, rel=1e-3)
        mine = USERS.of(np.array([user]))
        profile = [codes[j][nearest[j]].expand(length, -1) for j in range(2)]
        logits = objective.surrogate(torch.from_numpy(mine.items), profile).detach().numpy()
        p = 1 / (1 + np.exp(-logits.astype(np.float64)))
        bce = -np.log(np.where(mine.liked, p, 1 - p)).sum() / n
        assert float(terms.rec[user].detach()) == pytest.approx(0.5 * bce, rel=1e-3, abs=1e-6)
    off = _terms(language, USERS, z, centre, Objective(), WHOLE)
    assert [float(term.abs().sum()) for term in off[1:]] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factorised", [True, False])
def test_users_do_not_pull_each_other(kind: str, factorised: bool) -> None:
    """The gradient of a batch is, row by row, the gradient of every user alone."""
    lm = frozen_lm(kind)
    language, objective = language_of(lm, factorised=factorised), _objective()
    z, centre = soft_prompts(6), soft_prompts(6, seed=1)

    def gradient(users: Sequence[int]) -> Tensor:
        at = z[list(users)].clone().requires_grad_(True)
        some = USERS.of(np.array(users))
        terms = _terms(language, some, at, centre[list(users)], objective, WHOLE)
        return torch.autograd.grad(terms.per_user.sum(), at)[0]

    together = gradient(range(6))
    for user in range(6):
        assert torch.allclose(gradient([user])[0], together[user], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["both", "z"])
def test_gradients_are_routed_as_in_the_table(kind: str) -> None:
    """docs/method.md#quantization: which of z, codes, surrogate and language model each loss may move."""
    lm = frozen_lm("gpt2")
    language, objective = language_of(lm), _objective(kind)
    assert objective.surrogate is not None
    z = soft_prompts(6).requires_grad_(True)
    terms = _terms(language, USERS, z, soft_prompts(6, seed=1), objective, WHOLE)
    codes = [book.codes for book in objective.codebooks]
    phi = list(objective.surrogate.parameters())
    codebook_term = sum(
        (book.codebook_loss(z[:, j].flatten(1)).sum() for j, book in enumerate(objective.codebooks)), torch.zeros(())
    )

    def reaches(loss: Tensor) -> tuple[bool, bool, bool]:
        found = torch.autograd.grad(loss, [z, *codes, *phi], retain_graph=True, allow_unused=True)
        felt = [gradient is not None and bool(gradient.abs().max() > 0) for gradient in found]
        return felt[0], any(felt[1:3]), any(felt[3:])

    assert reaches(terms.nll.sum()) == (True, False, False)
    assert reaches(codebook_term) == (False, True, False)
    assert reaches(terms.commitment.sum()) == (True, False, False)
    assert reaches(terms.rec.sum()) == (True, kind == "both", True)
    assert reaches(terms.prior.sum()) == (True, False, False)
    (terms.per_user.sum() + codebook_term).backward()  # type: ignore[no-untyped-call]
    assert all(not p.requires_grad and p.grad is None for p in lm.model.parameters())


def test_both_readings_pull_z_alike() -> None:
    """STE-z and STE-both differ in what the codes get, not in what z gets."""
    lm = frozen_lm("gpt2")
    language, pulls = language_of(lm), []
    for kind in ("both", "z"):
        z = soft_prompts(6).requires_grad_(True)
        terms = _terms(language, USERS, z, soft_prompts(6, seed=1), _objective(kind), WHOLE)
        pulls.append(torch.autograd.grad(terms.rec.sum(), z)[0])
    assert torch.equal(pulls[0], pulls[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lr", [0.1, 2.0, 60.0])
def test_no_user_ends_worse(kind: str, lr: float) -> None:
    """However far the steps overshoot, no user's objective is above its start; small steps help nearly everybody."""
    lm = frozen_lm(kind)
    language, objective, z = language_of(lm), _objective(), soft_prompts(6)
    before = _terms(language, USERS, z, z, objective, WHOLE).per_user
    moved = _step(language, USERS, z, objective, lr=lr)
    after = _terms(language, USERS, moved, z, objective, WHOLE).per_user
    assert (after <= before + 1e-5).all()
    kept = (moved == z).all(dim=(1, 2, 3))
    assert torch.equal(moved[kept], z[kept])
    if lr == 0.1:
        assert int((after < before - 1e-3).sum()) >= 4
    if lr == 60.0:
        assert int(kept.sum()) >= 4


def test_steps_into_nowhere_are_taken_back() -> None:
    """Where the steps end in what is no number, the start is kept."""
    lm = frozen_lm("gpt2")
    z = soft_prompts(6)
    assert torch.equal(_step(language_of(lm), USERS, z, _objective(), lr=1e30), z)


def test_short_histories_are_guarded_beside_long_ones() -> None:
    """A user whose history every step sees whole is never worse, though the batch holds one that must be sampled."""
    lm = frozen_lm("gpt2")
    language, objective = language_of(lm), _objective()
    some = histories([0, ~4, 7], list(range(12)), [3])
    z = soft_prompts(3)
    before = _terms(language, some, z, z, objective, WHOLE).per_user
    moved = _step(language, some, z, objective, lr=8.0, items_per_step=4)
    after = _terms(language, some, moved, z, objective, WHOLE).per_user
    assert (after[[0, 2]] <= before[[0, 2]] + 1e-5).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_without_history_keeps_its_start(kind: str) -> None:
    """To the last bit, though codebooks would pull at it."""
    lm = frozen_lm(kind)
    z = soft_prompts(6)
    moved = _step(language_of(lm), USERS, z, _objective())
    assert torch.equal(moved[1], z[1])
    assert not torch.equal(moved[0], z[0])
    nobody = _step(language_of(lm), histories([], []), z[:2], _objective())
    assert torch.equal(nobody, z[:2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factorised", [True, False])
@pytest.mark.parametrize("title_stride", [1, 3])
def test_a_user_alone_is_the_user_in_a_batch(kind: str, factorised: bool, title_stride: int) -> None:
    """Own Adam state, own terms: who else is in the batch, and in which order, changes nothing beyond rounding."""
    lm = frozen_lm(kind)
    language, objective, z = language_of(lm, factorised=factorised), _objective(), soft_prompts(6)
    together = _step(language, USERS, z, objective, title_stride=title_stride)
    for user in range(6):
        mine = np.array([user])
        alone = _step(language, USERS.of(mine), z[mine], objective, title_stride=title_stride)
        assert torch.allclose(alone[0], together[user], atol=1e-5)
    order = np.array([5, 2, 0, 1, 4, 3])
    mixed = _step(language, USERS.of(order), z[order], objective, title_stride=title_stride)
    assert torch.allclose(mixed, together[order], atol=1e-5)


def test_the_same_step_gives_the_same_bytes() -> None:
    """Twice the same, sampling included."""
    lm = frozen_lm("gpt2")
    z = soft_prompts(6)
    runs = [_step(language_of(lm), USERS, z, _objective(), items_per_step=2) for _ in range(2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], z)


def test_no_steps_change_nothing() -> None:
    """steps = 0 gives the start back."""
    lm = frozen_lm("gpt2")
    z = soft_prompts(6)
    assert torch.allclose(_step(language_of(lm), USERS, z, _objective(), steps=0), z, atol=1e-6)


@pytest.mark.parametrize("soft_tokens", [1, 2])
def test_the_history_gets_likelier(soft_tokens: int) -> None:
    """Without codebooks and prior, steps raise the likelihood of every user's own history, for any m."""
    lm = frozen_lm("gpt2")
    language = language_of(lm, soft_tokens=soft_tokens)
    z = soft_prompts(6, soft_tokens=soft_tokens)
    moved = _step(language, USERS, z, Objective(), steps=12)
    before, after = (_terms(language, USERS, at, z, Objective(), WHOLE).nll for at in (z, moved))
    busy = torch.from_numpy(USERS.lengths > 0)
    assert (after[busy] < before[busy] - 0.02).all()


def test_a_stronger_prior_keeps_profiles_nearer() -> None:
    """1 / (2 s^2): the distance from the centre shrinks with the prior's weight."""
    lm = frozen_lm("gpt2")
    z = soft_prompts(6)
    far = [
        float((_step(language_of(lm), USERS, z, Objective(prior=prior), steps=12, lr=0.02) - z).norm())
        for prior in (0.0, 0.02, 0.2)
    ]
    assert far[0] > far[1] > far[2] > 0


def test_free_energy_never_rises() -> None:
    """docs/method.md#em, L_rec off: guarded E steps and exact means let likelihood + prior + distance only fall."""
    lm = frozen_lm("gpt2")
    language, some = language_of(lm), random_histories(16, 5, seed=6, shortest=2)
    known = torch.from_numpy(some.lengths).float()
    centre = z = soft_prompts(16, seed=2)
    books = [Codebook(kmeans(z[:, j, 0], 3, torch.eye(WIDTH), restarts=2, seed=0), torch.eye(WIDTH)) for j in range(2)]
    with torch.no_grad():
        for book in books:
            book.codes += 0.1 * torch.randn(book.codes.shape, generator=torch.Generator().manual_seed(0))
    objective = Objective(prior=0.5, commitment=0.8, codebooks=books)

    def energy() -> float:
        """Per user, not per item: every term counts once against the whole history."""
        with torch.no_grad():
            return float((known * _terms(language, some, z, centre, objective, WHOLE).per_user).sum())

    def distance() -> float:
        return sum(float(book.codebook_loss(z[:, j, 0]).sum().detach()) for j, book in enumerate(books))

    energies = [energy()]
    for _ in range(5):
        before = distance()
        for j, book in enumerate(books):
            move_codes(book, z[:, j, 0], KMeansConfig(metric="plain"))
        assert distance() <= before + 1e-4
        energies.append(energy())
        z = e_step(language, some, z, centre, WHOLE, objective,
            steps=3, lr=0.05, items_per_step=16, seed=0,
        )  # fmt: skip
        energies.append(energy())
    assert (np.diff(energies) <= 1e-4).all()
    assert energies[-1] < energies[0] - 1.0


def test_the_subspace_is_that_of_principal_components() -> None:
    """Directions and lengths are those of numpy's covariance; eps is the pseudo-inverse of z."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2, 50, 6, generator=generator) * torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5, 0.1])
    space = Subspace.of(points, 3)
    for j in range(2):
        covariance = np.cov(points[j].double().numpy().T, bias=True)
        values, vectors = np.linalg.eigh(covariance)
        top = vectors[:, -3:] * np.sqrt(values[-3:])
        assert np.allclose(space.basis[j] @ space.basis[j].T, top @ top.T, atol=1e-3)
        assert np.allclose(space.inverse[j], np.linalg.pinv(space.basis[j].double().numpy()), atol=1e-3)
    centre, eps = torch.randn(4, 2, 1, 6), torch.randn(4, 2, 1, 3)
    assert torch.allclose(space.eps(centre, space.z(centre, eps)), eps, atol=1e-4)


def test_profiles_stay_in_the_subspace() -> None:
    """E steps move along the open directions alone; one without any spread stays closed, and nothing blows up."""
    lm = frozen_lm("gpt2")
    language = language_of(lm)
    points = torch.zeros(2, 40, WIDTH)
    points[:, :, :3] = soft_prompts(80, facets=1)[:, 0, 0, :3].reshape(2, 40, 3)
    space = Subspace.of(points, 5)  # rank 5 of which 3 are open
    z = soft_prompts(6)
    moved = e_step(language, USERS, z, z, space, replace(Objective(), prior=0.1),
        steps=4, lr=0.2, items_per_step=16, seed=0,
    )  # fmt: skip
    assert torch.isfinite(moved).all()
    assert (moved - z)[..., 3:].abs().max() < 1e-5
    assert (moved - z)[..., :3].abs().max() > 0.01


def test_a_whole_space_is_scaled_identity() -> None:
    """Every direction alike: eps of 1 is one embedding's length scale."""
    centre, eps = torch.zeros(1, 2, 1, WIDTH), torch.ones(1, 2, 1, WIDTH)
    assert torch.allclose(WHOLE.z(centre, eps), torch.full((1, 2, 1, WIDTH), 0.2))
    assert torch.allclose(WHOLE.eps(centre, WHOLE.z(centre, eps)), eps)


def test_the_objective_freezes_what_the_e_step_must_not_move() -> None:
    """In the E step codebooks and surrogate are fixed; the weights are those of Eq. 5 and 7."""
    torch.manual_seed(0)
    books = [Codebook(torch.randn(4, WIDTH), torch.eye(WIDTH), "both") for _ in range(2)]
    surrogate = Surrogate(9, list(torch.randn(2, WIDTH)), list(torch.rand(2, WIDTH) + 0.5))
    state = EMState(books, surrogate, rec=0.25)
    objective = Objective.under(state, 2.0, RefineConfig(alpha=0.5, beta=0.25, gamma=0.1, reduction="mean"))
    assert objective.prior == 2.0
    assert objective.commitment == pytest.approx(0.1 * 0.5 * 0.25)
    assert objective.rec == 0.25
    assert objective.reduction == "mean"
    assert state.surrogate is not None
    assert not state.surrogate.training
    frozen = [*state.surrogate.parameters(), *(book.codes for book in state.codebooks)]
    assert not any(parameter.requires_grad for parameter in frozen)
