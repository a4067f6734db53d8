"""The M step: surrogate and codebooks with all z fixed, on profiles with planted tastes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from userip.models.quantizers.codebook import Codebook
from userip.training.crossfit.histories import Histories
from userip.training.crossfit.views import CrossFitViews
from userip.training.methods.em_state import EMState
from userip.training.methods.protocol import Facet
from userip.training.methods.table import ProfileTable
from userip.training.quantize.clicks import Clicks, fit_surrogate, new_surrogate
from userip.training.quantize.kmeans.config import KMeansConfig
from userip.training.quantize.kmeans.first import first_codebooks
from userip.training.quantize.kmeans.m_step import move_codes, next_m_step
from userip.training.quantize.protocol import Problem

USERS, HELD_OUT, ITEMS, EACH, D = 90, 6, 12, 8, 6
FOLDS = 2
CONFIG = KMeansConfig(restarts=3, surrogate_epochs=3, surrogate_lr=2e-2, em_rounds=1, click_weight=4.0)
SIZES = (3, 2)
FACETS = tuple(Facet(name, size) for name, size in zip(("taste", "other"), SIZES, strict=True))


def _views(folds: int = FOLDS) -> CrossFitViews:
    """User n likes items of the kind n mod 3; the last six users are held out."""
    draw = np.random.default_rng(0)
    everybody = USERS + HELD_OUT
    items = np.concatenate([draw.permutation(ITEMS)[:EACH] for _ in range(everybody)]).astype(np.int64)
    owner = np.repeat(np.arange(everybody), EACH)
    some = Histories(np.arange(everybody + 1) * EACH, items, items % 3 == owner % 3)
    fold = np.tile(np.arange(EACH) % max(folds, 1), everybody).astype(np.int8)
    user = np.concatenate([np.arange(everybody), *([np.arange(USERS)] * folds)])
    without = np.concatenate([np.full(everybody, -1), *(np.full(USERS, f) for f in range(folds))]).astype(np.int8)
    return CrossFitViews([f"u{n:03}" for n in range(everybody)], USERS, some, fold, user, without)


def _profiles(views: CrossFitViews) -> Tensor:
    """z [V, 2, 1, D]: the first facet knows the planted taste, the second is two blobs of its own."""
    generator = torch.Generator().manual_seed(1)
    centres = 2 * torch.randn(3, D, generator=generator)
    other = 2 * torch.randn(2, D, generator=generator)
    user = torch.from_numpy(views.user)
    z = torch.stack([centres[user % 3], other[user // 3 % 2]], dim=1)
    return (z + 0.1 * torch.randn(z.shape, generator=generator))[:, :, None]


class _Case:
    """CrossFitViews, their table on disk, clicks, and z of the train users' whole histories [n, J, D]."""

    def __init__(self, directory: Path, folds: int = FOLDS) -> None:
        self.views = _views(folds)
        profiles = _profiles(self.views)
        self.table = ProfileTable(directory, "z", (len(self.views), 2, 1, D), 1)
        self.table.write(0, np.arange(len(self.views)), profiles)
        self.clicks = Clicks(self.views)
        self.z = self.table[self.views.full].flatten(2)

    def problem(self, seed: int = 0, sizes: tuple[int, ...] = SIZES) -> Problem:
        facets = tuple(Facet(facet.name, size) for facet, size in zip(FACETS, sizes, strict=True))
        return Problem(self.z, facets, self.table, self.clicks, ITEMS, seed)

    def first(self, seed: int = 0, sizes: tuple[int, ...] = SIZES, **settings: object) -> EMState:
        return first_codebooks(self.problem(seed, sizes), CONFIG.model_copy(update=settings))

    def next(self, state: EMState, *, last: bool, **settings: object) -> EMState:
        return next_m_step(state, self.problem(1), CONFIG.model_copy(update=settings), last=last)


@pytest.fixture
def case(tmp_path: Path) -> _Case:
    """Two folds."""
    return _Case(tmp_path)


def _bytes(state: EMState) -> list[Tensor]:
    tensors = [book.codes.detach().clone() for book in state.flat]
    if state.surrogate is not None:
        tensors += [value.clone() for value in state.surrogate.state_dict().values()]
    return tensors


@pytest.mark.parametrize("folds", [0, 2, 3])
def test_a_click_is_read_with_the_view_that_does_not_know_it(folds: int) -> None:
    """Every train row once, with its item and label, under the user's view without the row's fold; nobody held out."""
    views = _views(folds)
    clicks = Clicks(views)
    assert len(clicks) == USERS * EACH
    assert clicks.item.tolist() == views.histories.items[: USERS * EACH].tolist()
    assert clicks.label.bool().tolist() == views.histories.liked[: USERS * EACH].tolist()
    owner = views.histories.owner[: USERS * EACH]
    assert (views.user[clicks.view] == owner).all()
    expected = views.fold[: USERS * EACH] if folds else np.full(USERS * EACH, -1)
    assert (views.without[clicks.view] == expected).all()


def test_the_surrogate_learns_what_profiles_say(case: _Case) -> None:
    """The loss falls far below that of the constant rate when z knows the taste."""
    rate = float(case.clicks.label.mean())
    constant = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    surrogate = new_surrogate(case.z, ITEMS, 0)
    config = CONFIG.model_copy(update={"surrogate_epochs": 30})
    losses = fit_surrogate(surrogate, [], case.problem(), config)
    assert len(losses) == 30
    assert losses[-1] < 0.6 * constant
    assert not surrogate.training


@pytest.mark.parametrize(
    ("kind", "update", "moved"), [("both", "gradient", True), ("both", "mean", False), ("z", "gradient", False)]
)
def test_the_click_loss_moves_codes_only_where_it_may(case: _Case, kind: str, update: str, moved: bool) -> None:
    """L_rec reaches the codes under STE-both with gradient codes, not under STE-z or where codes are means."""
    books = [Codebook(case.z[:3, j], torch.eye(D), kind) for j in range(2)]
    before = [book.codes.detach().clone() for book in books]
    config = CONFIG.model_copy(update={"straight_through": kind, "update": update})
    fit_surrogate(new_surrogate(case.z, ITEMS, 0), books, case.problem(), config, learn_codes=config.learns_codes)
    assert all(torch.equal(book.codes, old) != moved for book, old in zip(books, before, strict=True))


def test_a_flat_dimension_does_not_shout(case: _Case) -> None:
    """Where nobody differs the surrogate divides by a floor, not by zero."""
    z = case.z.clone()
    z[:, :, 2] = 0.3
    surrogate = new_surrogate(z, ITEMS, 0)
    assert float(surrogate.std.min()) > 1e-4 * float(surrogate.std.max())


@pytest.mark.parametrize("surrogate", [True, False])
def test_codebooks_start_at_the_planted_tastes(case: _Case, surrogate: bool) -> None:
    """k-means of z, in whichever metric, finds both facets' clusters; every code is used."""
    state = case.first(surrogate=surrogate)
    codes = state.assign(case.z[:, :, None])
    user = np.arange(USERS)
    assert adjusted_rand_score(user % 3, codes[:, 0].tolist()) == pytest.approx(1.0)
    assert adjusted_rand_score(user // 3 % 2, codes[:, 1].tolist()) == pytest.approx(1.0)
    assert [book["perplexity"] for book in state.figures["codebooks"]] == pytest.approx([3.0, 2.0], abs=0.01)
    assert (state.surrogate is not None) == surrogate
    assert len(state.figures["surrogate_loss"]) == (2 * CONFIG.surrogate_epochs if surrogate else 0)


def test_the_metric_is_what_the_settings_say(case: _Case) -> None:
    """Click rows are appended with a surrogate and a weight, not without; `plain` is Euclidean."""
    assert case.first().flat[0].scale.shape[0] > D
    assert case.first(click_weight=0.0).flat[0].scale.shape == (D, D)
    plain = case.first(surrogate=False, metric="plain")
    assert torch.equal(plain.flat[0].scale, torch.eye(D))


def test_a_uniform_start_is_the_released_one(case: _Case) -> None:
    """U(-1/K, 1/K), and neither means nor revival touch it."""
    state = case.first(start="uniform", surrogate=False)
    for book, size in zip(state.flat, SIZES, strict=True):
        assert float(book.codes.detach().abs().max()) <= 1 / size
        assert float(book.codes.detach().std()) > 0.3 / size
    assert state.figures["revived"] == []


def test_without_rounds_the_surrogate_reads_dense_profiles_only(case: _Case) -> None:
    """em_rounds = 0 is k-means of z: one fit for the metric, no second one on codes."""
    assert len(case.first(em_rounds=0).figures["surrogate_loss"]) == CONFIG.surrogate_epochs


def test_the_same_seed_gives_the_same_state(case: _Case) -> None:
    """Codebooks and surrogate to the last bit, through both kinds of M step."""
    runs = []
    for _ in range(2):
        first = case.first(seed=7)
        runs.append(_bytes(first) + _bytes(case.next(first, last=False)))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    other = _bytes(case.first(seed=8))
    assert not all(torch.equal(a, b) for a, b in zip(other, runs[0], strict=False))


@pytest.mark.parametrize("update", ["mean", "gradient"])
def test_the_state_before_stays_as_it_was(case: _Case, update: str) -> None:
    """Fold-in walks through every round's state, so a later M step must not change an earlier one."""
    first = case.first(update=update)
    before = _bytes(first)
    after = case.next(first, last=False, update=update)
    assert all(torch.equal(a, b) for a, b in zip(before, _bytes(first), strict=True))
    assert after.surrogate is not first.surrogate


def test_exact_codes_are_means_of_their_users(case: _Case) -> None:
    """`update = mean`: every code is the mean of the z that chose it; with `decay`, on the way there."""
    book = Codebook(case.z[:3, 0] + 0.2, torch.eye(D))
    slow = Codebook(case.z[:3, 0] + 0.2, torch.eye(D))
    before, index = book.codes.detach().clone(), book.assign(case.z[:, 0])
    move_codes(book, case.z[:, 0], CONFIG)
    move_codes(slow, case.z[:, 0], CONFIG.model_copy(update={"decay": 0.75}))
    for k in range(3):
        mean = case.z[index == k, 0].mean(0)
        assert torch.allclose(book.codes[k], mean, atol=1e-5)
        assert torch.allclose(slow.codes[k], 0.75 * before[k] + 0.25 * mean, atol=1e-5)


def test_the_papers_weights_leave_codes_where_they_are() -> None:
    """docs/method.md#quantization: averaged over d and weighted 1e-6, AdamW's eps swallows the step; summed, not."""
    width = 768
    z = torch.randn(64, width, generator=torch.Generator().manual_seed(0)) * 0.02
    centre = z.mean(0)
    left = {}
    for reduction, weight in (("mean", 1e-3), ("sum", 1.0)):
        book = Codebook(torch.full((1, width), 0.1), torch.eye(width))
        start = float((book.codes[0] - centre).detach().norm())
        settings = {"update": "gradient", "reduction": reduction, "alpha": weight, "gamma": weight, "steps": 200}
        config = KMeansConfig.model_validate(settings)
        move_codes(book, z, config)
        left[reduction] = float((book.codes[0] - centre).detach().norm()) / start
    assert left["mean"] > 0.9
    assert left["sum"] < 0.05


@pytest.mark.parametrize(("last", "alive"), [(False, 3), (True, 1)])
def test_dead_codes_are_revived_but_for_the_last_round(case: _Case, last: bool, alive: int) -> None:
    """A collapsed codebook is spread again over its users; in the last round identities stay stable."""
    collapsed = [Codebook(torch.cat([case.z[:1, j], torch.full((2, D), 99.0)]), torch.eye(D)) for j in range(2)]
    state = case.next(EMState(collapsed, None), last=last, surrogate=False)
    codes = state.assign(case.z[:, :, None])
    assert len(set(codes[:, 0].tolist())) == alive
    assert state.figures["revived"] == ([] if last else [2, 2])
    if not last:
        assert adjusted_rand_score(np.arange(USERS) % 3, codes[:, 0].tolist()) == pytest.approx(1.0)


def test_more_codes_than_users_are_survived(tmp_path: Path) -> None:
    """A codebook larger than the number of users: all finite, each user on a code of its own."""
    case = _Case(tmp_path)
    state = case.first(sizes=(USERS + 10, 2), surrogate=False)
    assert torch.isfinite(state.flat[0].codes).all()
    assert len(set(state.assign(case.z[:, :, None])[:, 0].tolist())) == USERS
