"""E steps on clicks alone, against scipy's optimum of each user's own written-out objective."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from tests.training.tiny_language import WIDTH, histories, random_histories, soft_prompts
from userip.models.quantizers.surrogate import Surrogate
from userip.training.crossfit.histories import Histories
from userip.training.methods.userip.click_step import click_step
from userip.training.methods.userip.e_step import Subspace

ITEMS, USERS, RANK = 12, 7, 3
SOME = random_histories(USERS - 1, 9, seed=5, shortest=2).then(histories([]))  # the last one has no history
PRIOR = 0.2


def _surrogate() -> Surrogate:
    """Random weights, large enough that profiles matter: logits of the profiles' own size."""
    torch.manual_seed(2)
    spread = soft_prompts(50, seed=9)
    made = Surrogate(ITEMS, [spread[:, j, 0].mean(0) for j in range(2)], [spread[:, j, 0].std(0) for j in range(2)])
    with torch.no_grad():
        for name, value in made.dcn.state_dict().items():
            if value.dtype.is_floating_point:
                value.copy_(torch.rand_like(value) + 0.5 if "running_var" in name else torch.randn_like(value) * 0.3)
    return made.eval()


def _subspace() -> Subspace:
    return Subspace.of(soft_prompts(30, seed=8)[:, :, 0].transpose(0, 1), RANK)


def _objective(surrogate: Surrogate, mine: Histories, inferred: Tensor, eps: Tensor, prior: float) -> Tensor:
    """The objective of one user at eps [J, r], in double precision, interaction by interaction."""
    z = []
    for j, basis in enumerate(_subspace().basis.double()):
        z.append(inferred[j, 0].double() + sum((eps[j, r] * basis[:, r] for r in range(RANK)), torch.zeros(WIDTH)))
    total = prior * (eps**2).sum()
    for item, liked in zip(mine.items.tolist(), mine.liked.tolist(), strict=True):
        logit = surrogate(torch.tensor([item]), [part[None] for part in z])[0]
        total = total + torch.log1p(torch.exp(-logit if liked else logit))
    return total


def _losses(surrogate: Surrogate, some: Histories, inferred: Tensor, z: Tensor, prior: float) -> list[float]:
    double = copy.deepcopy(surrogate).double()
    eps = _subspace().eps(inferred, z)[:, :, 0].double()
    return [
        float(_objective(double, some.of(np.array([user])), inferred[user], eps[user], prior).detach())
        for user in range(len(some))
    ]


def _mode(surrogate: Surrogate, mine: Histories, inferred: Tensor, prior: float) -> NDArray[np.float64]:
    """Where scipy finds the minimum for one user alone: eps float64 [J, r]."""
    double = copy.deepcopy(surrogate).double()

    def value_and_slope(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        eps = torch.from_numpy(point.reshape(2, RANK)).requires_grad_(True)
        loss = _objective(double, mine, inferred, eps, prior)
        (slope,) = torch.autograd.grad(loss, eps)
        return float(loss.detach()), slope.numpy().ravel()

    best = minimize(value_and_slope, np.zeros(2 * RANK), jac=True, method="BFGS", options={"gtol": 1e-8})
    found: NDArray[np.float64] = best.x.reshape(2, RANK)
    return found


def _step(some: Histories, z: Tensor, inferred: Tensor, *, prior: float = PRIOR, steps: int, lr: float) -> Tensor:
    return click_step(_surrogate(), some, z, inferred, _subspace(), prior=prior, steps=steps, lr=lr)


def test_every_users_objective_goes_down() -> None:
    """A few small steps: lower for each user with a history, and lower still after more of them."""
    surrogate, inferred = _surrogate(), soft_prompts(USERS)
    values = [
        _losses(surrogate, SOME, inferred, _step(SOME, inferred, inferred, steps=steps, lr=0.02), PRIOR)[:-1]
        for steps in (0, 5, 30)
    ]
    assert all(before > some > more for before, some, more in zip(*values, strict=True))


def test_it_ends_at_the_mode_of_prior_and_clicks() -> None:
    """The point that scipy finds user by user, most of them well away from where they began."""
    surrogate, inferred = _surrogate(), soft_prompts(USERS)
    moved = _step(SOME, inferred, inferred, steps=400, lr=0.03)
    eps = _subspace().eps(inferred, moved)[:, :, 0]
    modes = [_mode(surrogate, SOME.of(np.array([user])), inferred[user], PRIOR) for user in range(USERS - 1)]
    assert np.median([np.abs(mode).max() for mode in modes]) > 0.3
    double, reached = copy.deepcopy(surrogate).double(), _losses(surrogate, SOME, inferred, moved, PRIOR)
    for user, mode in enumerate(modes):
        mine = SOME.of(np.array([user]))
        best = _objective(double, mine, inferred[user], torch.from_numpy(mode), PRIOR).detach()
        assert reached[user] == pytest.approx(float(best), abs=1e-3)
        assert eps[user].numpy() == pytest.approx(mode, abs=0.02)  # flat along a direction or two


def test_where_it_starts_is_not_what_it_is_pulled_to() -> None:
    """From another z the steps end at the same mode: the prior stands around `inferred`, not around the start."""
    inferred = soft_prompts(USERS)
    elsewhere = _subspace().z(
        inferred, 0.5 * torch.randn(USERS, 2, 1, RANK, generator=torch.Generator().manual_seed(4))
    )
    ends = (_step(SOME, z, inferred, steps=400, lr=0.03) for z in (inferred, elsewhere))
    near, far = (_subspace().eps(inferred, z)[:-1] for z in ends)
    assert _subspace().eps(inferred, elsewhere)[:-1].abs().max() > 0.5
    assert torch.allclose(near, far, atol=0.02)


def test_steps_stay_in_the_subspace() -> None:
    """What a user moves by is a combination of the directions that are open."""
    inferred = soft_prompts(USERS)
    subspace = _subspace()
    by = _step(SOME, inferred, inferred, steps=20, lr=0.1) - inferred
    assert by[:-1].abs().max() > 0.05
    assert torch.allclose(subspace.z(torch.zeros_like(by), subspace.eps(torch.zeros_like(by), by)), by, atol=1e-5)


def test_a_user_without_history_stays_where_the_language_model_put_him() -> None:
    """To the last bit, wherever the steps begin: clicks say nothing of him, and the prior is centred there."""
    inferred, z = soft_prompts(USERS), soft_prompts(USERS, seed=1)
    for start in (inferred, z):
        moved = _step(SOME, start, inferred, steps=10, lr=0.1)
        assert torch.equal(moved[-1], inferred[-1])
        assert not torch.equal(moved[0], inferred[0])


def test_users_do_not_interact() -> None:
    """Alone or in a batch, in any order, beside short or long histories: the same z."""
    inferred = soft_prompts(USERS)
    together = _step(SOME, inferred, inferred, steps=40, lr=0.05)
    order = np.random.default_rng(1).permutation(USERS)
    assert torch.allclose(
        _step(SOME.of(order), inferred[order], inferred[order], steps=40, lr=0.05), together[order], atol=1e-5
    )
    for user in range(USERS):
        mine = inferred[user : user + 1]
        alone = _step(SOME.of(np.array([user])), mine, mine, steps=40, lr=0.05)
        assert torch.allclose(alone[0], together[user], atol=1e-5)


def test_a_strong_prior_keeps_everybody_at_what_was_inferred() -> None:
    """The text outweighs the clicks, up to what a step of Adam is long; a weak prior lets go."""
    inferred = soft_prompts(USERS)
    for prior, near in ((1e5, True), (0.1, False)):
        eps = _subspace().eps(inferred, _step(SOME, inferred, inferred, prior=prior, steps=400, lr=0.02))
        assert (float(eps.abs().max()) < 2e-3) == near


def test_more_clicks_outweigh_the_prior() -> None:
    """The clicks are a sum, not a mean: the same history four times over moves a user farther from the text."""
    inferred = soft_prompts(1)
    once = histories([0, ~1, 2])
    often = histories([0, ~1, 2] * 4)
    near, far = (
        float((_step(some, inferred, inferred, steps=300, lr=0.02) - inferred).norm()) for some in (once, often)
    )
    assert far > 1.5 * near


def test_liked_and_disliked_pull_apart() -> None:
    """The surrogate's chance of what was liked rises and of what was disliked falls, against turned labels."""
    surrogate, inferred = _surrogate(), soft_prompts(1)
    items = torch.arange(6)
    said = []
    for some in (histories([0, 1, 2, ~3, ~4, ~5]), histories([~0, ~1, ~2, 3, 4, 5])):
        z = _step(some, inferred, inferred, prior=0.05, steps=100, lr=0.05).flatten(2)
        said.append(surrogate(items, [z[:, j].expand(6, -1) for j in range(2)]).detach())
    assert said[0][:3].sum() - said[0][3:].sum() > said[1][:3].sum() - said[1][3:].sum() + 1.0


def test_the_surrogate_stays_as_it_was() -> None:
    """Weights and running statistics are frozen; dropout is off, so that twice gives the same bytes."""
    surrogate, inferred = _surrogate().train(), soft_prompts(USERS)
    before = {name: value.clone() for name, value in surrogate.state_dict().items()}
    a, b = (
        click_step(surrogate, SOME, inferred, inferred, _subspace(), prior=PRIOR, steps=5, lr=0.05) for _ in range(2)
    )
    assert torch.equal(a, b)
    assert not a.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in surrogate.state_dict().items())


def test_nobody_has_a_history() -> None:
    """A batch without a single click is no error and moves nobody."""
    inferred = soft_prompts(2)
    assert torch.equal(_step(histories([], []), inferred, inferred, steps=3, lr=0.1), inferred)
