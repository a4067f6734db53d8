"""Tastes in closed form, held against sums over events one by one, and against planted vectors."""

import numpy as np
import pytest
import torch

from tests.training.tiny_language import histories
from userip.training.crossfit.histories import Histories
from userip.training.judging.events import Events, chance
from userip.training.judging.judgements import Judgements
from userip.training.methods.taste.config import TasteConfig
from userip.training.methods.taste.fitting import fit_vectors
from userip.training.methods.taste.vectors import Tensors, Vectors, rotated

SOME = histories([0, 1, ~2, ~1, 3], [0, ~1, ~2, ~3], [], [3])
SAID = Judgements(np.array([0.5, -0.2, 0.1, 1.0]), None)


def _vectors() -> Vectors:
    torch.manual_seed(1)
    vectors = Vectors(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), 3)
    with torch.no_grad():
        vectors.of_items.normal_(0, 0.7)
        vectors.of_attributes.normal_(0, 0.7)
    return vectors.requires_grad_(False)


def _by_hand(vectors: Vectors, events: Tensors, user: int, without: int | None = None) -> torch.Tensor:
    """The posterior mean from the events of one user, one after the other."""
    rows = [e for e in range(len(events.owner)) if int(events.owner[e]) == user and e != without]
    v = vectors.items()
    r = [vectors.alpha * events.surprise[e] + vectors.beta * events.above[e] for e in rows]
    g = sum(r, torch.tensor(0.0)) / (len(rows) + torch.nn.functional.softplus(vectors.shrinkage))
    precision, pull = torch.eye(3), torch.zeros(3)
    for e, residual in zip(rows, r, strict=True):
        one = v[events.items[e]]
        precision, pull = precision + torch.outer(one, one), pull + (residual - g) * one
    z: torch.Tensor = torch.linalg.solve(precision, pull)
    return z


def test_tastes_are_the_posterior_mean() -> None:
    """Of every user; who has no history has the prior's, 0."""
    vectors, events = _vectors(), Tensors.of(Events.of(SOME, SAID))
    z = vectors.tastes(events)
    for user in range(4):
        assert torch.allclose(z[user], _by_hand(vectors, events, user), atol=1e-5)
    assert torch.equal(z[2], torch.zeros(3))


def test_a_row_is_told_by_the_other_rows() -> None:
    """The rank-one update is the same as leaving the row out and solving again; a hidden row tells nothing."""
    vectors, events = _vectors(), Tensors.of(Events.of(SOME, SAID))
    told = vectors.left_out(events, torch.ones(len(events.owner)))
    for row in range(len(events.owner)):
        z = _by_hand(vectors, events, int(events.owner[row]), without=row)
        assert float(told[row]) == pytest.approx(float(z @ vectors.items()[events.items[row]]), abs=1e-5)
    alone = vectors.left_out(events, torch.zeros(len(events.owner)))
    assert torch.allclose(alone, torch.zeros(len(alone)), atol=1e-6)


def test_a_label_does_not_tell_its_own_row() -> None:
    """With a row's label turned round, what the others say of it stays; what it says of them does not."""
    vectors, kept = _vectors(), torch.ones(10)
    liked = SOME.liked.copy()
    liked[1] = not liked[1]
    turned = Histories(SOME.offsets, SOME.items, liked)
    before, after = (vectors.left_out(Tensors.of(Events.of(some, SAID)), kept) for some in (SOME, turned))
    assert float(before[1]) == pytest.approx(float(after[1]), abs=1e-6)
    assert abs(float(before[0] - after[0])) > 1e-3


def test_a_basis_changes_no_product_and_orders_by_what_counts() -> None:
    """z B and v B^-T have the products of z and v; |z B|^2 is the mean square of z . v over items that are met."""
    draw = torch.Generator().manual_seed(0)
    v, z = torch.randn(50, 4, generator=draw), torch.randn(7, 4, generator=draw)
    met = np.arange(50.0)
    basis = rotated(v, met)
    assert torch.allclose((z @ basis) @ (v @ torch.linalg.inv(basis).T).T, z @ v.T, atol=1e-4)
    mean = (z @ v.T).square() @ torch.from_numpy(met / met.sum()).float()
    assert torch.allclose((z @ basis).square().sum(1), mean, rtol=1e-4)
    spread = basis.square().sum(0)
    assert (spread[:-1] >= spread[1:]).all()


@pytest.mark.parametrize("planted", [True, False])
def test_fitting_finds_planted_tastes_and_none_in_coins(planted: bool) -> None:
    """PLANTED: two kinds of items and of users. The loss on held-out users falls by far, and in coins by nothing."""
    draw = np.random.default_rng(0)
    users, items, each = 300, 40, 12
    chosen = np.concatenate([draw.choice(items, each, replace=False) for _ in range(users)])
    owner = np.repeat(np.arange(users), each)
    logit = 1.5 * np.where(owner // 5 % 2 == chosen % 2, 1.0, -1.0) if planted else np.zeros(len(owner))
    liked = draw.random(len(owner)) < chance(logit)
    train = Histories(np.arange(users + 1) * each, chosen.astype(np.int64), liked)
    events = Events.across_users(train, items)
    settings = TasteConfig(dimensions=2, steps=150, lr=0.05)
    attributes = torch.zeros(items, 0)
    level = events.ease
    vectors, choice, nobody = fit_vectors(events, level, attributes, settings, seed=0)
    if planted:
        assert choice.loss < nobody - 0.1
        odd, even = (vectors.items().detach()[kind::2].mean(dim=0) for kind in (1, 0))
        assert (odd @ even).item() < 0
    else:
        assert choice.loss > nobody - 0.005
