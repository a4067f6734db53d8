"""Formulas without taste: how easily an item is liked, and how easily a user likes."""

from userip.evaluation.formulas.ground import Asked, Floats, Ground, Scorer
from userip.training.judging.events import Events
from userip.training.judging.judgements import beta_prior
from userip.training.judging.level import Level


def fit_ease(ground: Ground) -> Scorer:
    """b_i of the Rasch model: one order of items for everybody."""
    return lambda asked: ground.of_items(ground.said.ease, asked)


def fit_generosity(ground: Ground) -> Scorer:
    """b_i + c_u."""
    generosity = ground.said.scales(ground.everyone)[0]
    return lambda asked: ground.of_items(ground.said.ease, asked) + generosity[asked.user]


def fit_judging(ground: Ground) -> Scorer:
    """The level of the method `taste`, without taste: ease, stars and how known an item is; three numbers of a user."""
    events = Events.across_users(ground.train, ground.dataset.items.height)
    level = Level.fit(events, ground.known, beta_prior(ground.train))
    stars = ground.said.stars if ground.said.stars is not None else 0.0 * ground.said.ease
    items = level.of_items(ground.said.ease, stars, ground.known)
    numbers = level.of_users(Events.of(ground.everyone, ground.said), 1.0)
    users = numbers[:, 0] + level.warmth * numbers[:, 1]

    def score(asked: Asked) -> Floats:
        return ground.of_items(items, asked) + users[asked.user]

    return score
