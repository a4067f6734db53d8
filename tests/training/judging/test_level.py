"""The part of a logit that is the same for all items of a user: no row is told by its own label."""

import numpy as np
import pytest

from userip.training.crossfit.histories import Histories
from userip.training.judging.events import Events, chance
from userip.training.judging.judgements import Judgements, beta_prior
from userip.training.judging.level import Level


def _planted(users: int = 400, items: int = 30, each: int = 15) -> tuple[Histories, np.ndarray]:
    """Users with a generosity and items with an ease; ratings say more than likes."""
    draw = np.random.default_rng(3)
    generous, ease = draw.normal(0, 1.2, users), draw.normal(0.3, 1, items)
    owner = np.repeat(np.arange(users), each)
    chosen = np.concatenate([draw.choice(items, each, replace=False) for _ in range(users)])
    logit = generous[owner] + ease[chosen]
    liked = draw.random(len(owner)) < chance(logit)
    rating = np.clip(np.round(3 + logit / 2 + draw.normal(0, 0.5, len(owner))), 1, 5).astype(np.float32)
    return Histories(np.arange(users + 1) * each, chosen.astype(np.int64), liked, rating), generous


def test_it_finds_planted_generosity() -> None:
    """Generosity and warmth together order users as they were planted; a stranger stands at 0."""
    train, generous = _planted()
    events = Events.across_users(train, 30)
    level = Level.fit(events, np.zeros(30), beta_prior(train))
    found = level.of_users(Events.of(train, Judgements.fit(train, 30)), 1.0)
    whole = found[:, 0] + level.warmth * found[:, 1]
    assert np.corrcoef(whole, generous)[0, 1] > 0.8
    empty = Histories(np.zeros(2, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    nobody = Events.of(empty, Judgements.fit(train, 30))
    assert level.of_users(nobody, 1.0) == pytest.approx(np.zeros((1, 2)))


def test_a_row_does_not_tell_itself() -> None:
    """With one label and rating turned round, the logit of that very row stays; its user's other rows move."""
    train, _ = _planted(users=40)
    events = Events.across_users(train, 30)
    level = Level.fit(events, np.zeros(30), beta_prior(train))
    liked, rating = train.liked.copy(), train.rating.copy()  # type: ignore[union-attr]
    liked[7], rating[7] = not liked[7], 6 - rating[7]
    turned = Events.across_users(Histories(train.offsets, train.items, liked, rating), 30)
    before, after = (level.of_rows(one, np.zeros(30)) for one in (events, turned))
    assert before[7] == pytest.approx(after[7], abs=1e-9)
    assert abs(before[8] - after[8]) > 1e-3


def test_what_is_said_of_an_item_comes_from_other_users() -> None:
    """An item that one user alone has met is told by nobody: its ease is everybody's."""
    train, _ = _planted(users=40)
    items = train.items.copy()
    items[0] = 30
    one = Events.across_users(Histories(train.offsets, items, train.liked, train.rating), 31)
    apart = Judgements.fit(Histories(train.offsets, items, train.liked, train.rating).keep(train.owner % 5 != 0), 31)
    assert one.ease[0] == pytest.approx(apart.ease[30])
