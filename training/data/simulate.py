"""A simulated shop whose users have a planted hobby (favourite genre) and background (price, generosity).

User u has hobby h and background b, both uniform; d = |level(i) - level(b)| in [0, 1] is how far an item's
price is from what the background looks for. They choose item i, each at most once, with probability

    p(i | u) = wander * pop(i)  +  (1 - wander) * pop(i) * exp(effect * (CHOICE_HOBBY [genre(i) = h]
                                                                         - CHOICE_PRICE d)) / Z
and rates it

    rating = round(MEAN + quality(i) + effect * taste + noise * N(0, 1)), clipped to 1..5
    taste  = LIKE_HOBBY ([genre(i) = h] - 1/2) + LIKE_PRICE (1/2 - d) + generosity(b)

so hobby and background drive both what is chosen and what is liked. With effect = 0 all users are alike:
choices follow popularity, ratings follow quality and noise, and there is nothing for a profile to find.
"""

from typing import Annotated, Final

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from userip.training.data.catalogue import BACKGROUNDS, HOBBIES, PRICES, titles
from userip.training.data.dataset import FieldInfo
from userip.training.data.raw import RawData
from userip.training.errors import ConfigError

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

CHOICE_HOBBY: Final = 2.0  # a hobby's items are chosen e^2 times as often
CHOICE_PRICE: Final = 2.0
LIKE_HOBBY: Final = 1.6  # stars
LIKE_PRICE: Final = 1.0
GENEROSITY: Final = 0.8  # stars above the mean for the most generous background, below it for the least
QUALITY: Final = 0.4
MEAN: Final = 3.5
FIRST_DAY: Final = 1_600_000_000  # unix seconds
YEAR: Final = 365 * 86_400
CELLS: Final = 1 << 23  # users x items that are drawn at a time


class SimulationConfig(BaseModel):
    """What to simulate. `interactions` is the mean per user; nobody has fewer than half of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: Annotated[int, Field(ge=10)] = 1000
    items: Annotated[int, Field(ge=20)] = 300
    seed: Annotated[int, Field(ge=0)] = 0
    interactions: Annotated[int, Field(ge=4)] = 24
    hobbies: Annotated[int, Field(ge=2)] = 4
    backgrounds: Annotated[int, Field(ge=2)] = 3
    effect: Annotated[float, Field(ge=0)] = 1.0
    noise: Annotated[float, Field(ge=0)] = 0.5
    wander: Annotated[float, Field(ge=0, le=1)] = 0.2


def simulate_raw(config: SimulationConfig) -> tuple[RawData, pl.DataFrame]:
    """Simulate interactions and catalogue, and the truth: (raw, planted [user_id, hobby, background]).

    Raises ConfigError for more hobbies, backgrounds or interactions than there are words or items for.
    """
    _refuse_impossible(config)
    rng = np.random.default_rng(config.seed)
    items = _catalogue(config, rng)
    hobby = rng.integers(config.hobbies, size=config.users)
    background = rng.integers(config.backgrounds, size=config.users)
    user, item = _choices(config, hobby, background, items, rng)
    stars = _ratings(config, (hobby[user], background[user]), items, item, rng)
    interactions = pl.DataFrame(
        {
            "user_id": _ids("user", user, config.users),
            "item_id": _ids("item", item, config.items),
            "rating": stars,
            "timestamp": _times(user, config.users, rng),
        }
    )
    planted = pl.DataFrame(
        {
            "user_id": _ids("user", np.arange(config.users), config.users),
            "hobby": np.array(list(HOBBIES))[hobby],
            "background": np.array(BACKGROUNDS)[background],
        }
    )
    raw = RawData(
        interactions=interactions,
        items=items.select("item_id", "title", "genre", "price"),
        sources=(),
        positive_above=3.0,
        fields=(FieldInfo(name="genre", role="item"), FieldInfo(name="price", role="item")),
        attributes=("genre", "price"),
    )
    return raw, planted


def _refuse_impossible(config: SimulationConfig) -> None:
    for flag, asked, most in (
        ("hobbies", config.hobbies, len(HOBBIES)),
        ("backgrounds", config.backgrounds, len(BACKGROUNDS)),
    ):
        if asked > most:
            raise ConfigError(f"--{flag} {asked}: at most {most} here")
    if config.interactions > config.items // 2:  # either may be a default: both are named
        raise ConfigError(
            f"--items {config.items} is too few for --interactions {config.interactions}: a user chooses among "
            f"twice as many items as they take; give at least --items {2 * config.interactions}, or at most "
            f"--interactions {config.items // 2}"
        )


def _catalogue(config: SimulationConfig, rng: np.random.Generator) -> pl.DataFrame:
    hobby = rng.permutation(np.arange(config.items) % config.hobbies)
    level = rng.integers(len(PRICES), size=config.items)
    title = np.empty(config.items, dtype=object)
    for index, name in enumerate(list(HOBBIES)[: config.hobbies]):
        here = np.flatnonzero(hobby == index)
        title[here] = titles(name, here.size, rng)
    return pl.DataFrame(
        {
            "item_id": _ids("item", np.arange(config.items), config.items),
            "title": title.tolist(),
            "genre": np.array(list(HOBBIES))[hobby],
            "price": np.array(PRICES)[level],
            "hobby": hobby,
            "level": level / (len(PRICES) - 1),
            "quality": QUALITY * rng.standard_normal(config.items),
            "popularity": (1.0 + rng.permutation(config.items)) ** -0.5,
        }
    )


def _choices(
    config: SimulationConfig,
    hobby: Integers,
    background: Integers,
    items: pl.DataFrame,
    rng: np.random.Generator,
) -> tuple[Integers, Integers]:
    """Draw every user's items without replacement: (user [n], item [n]), users ascending."""
    genre, level = items["hobby"].to_numpy(), items["level"].to_numpy()
    popularity = items["popularity"].to_numpy()
    popularity = popularity / popularity.sum()
    wanted = np.linspace(0, 1, config.backgrounds)
    match = CHOICE_HOBBY * (genre[None, :] == np.arange(config.hobbies)[:, None])  # [H, M]
    price = CHOICE_PRICE * np.abs(level[None, :] - wanted[:, None])  # [B, M]
    tilt = popularity * np.exp(config.effect * (match[:, None, :] - price[None, :, :]))  # [H, B, M]
    tilt /= tilt.sum(axis=2, keepdims=True)
    log_p = np.log(config.wander * popularity + (1 - config.wander) * tilt)
    least = config.interactions // 2
    number = np.minimum(least + rng.poisson(config.interactions - least, size=config.users), config.items)
    users, chosen = [], []
    step = max(1, CELLS // config.items)
    for begin in range(0, config.users, step):
        part = slice(begin, min(begin + step, config.users))
        # The largest of log p + Gumbel noise are a draw without replacement.
        keys = log_p[hobby[part], background[part]] + rng.gumbel(size=(part.stop - begin, config.items))
        order = np.argsort(-keys, axis=1)
        taken = np.arange(config.items)[None, :] < number[part, None]
        row, place = np.nonzero(taken)
        users.append(row + begin)
        chosen.append(order[row, place])
    return np.concatenate(users), np.concatenate(chosen)


def _ratings(
    config: SimulationConfig,
    users: tuple[Integers, Integers],
    items: pl.DataFrame,
    item: Integers,
    rng: np.random.Generator,
) -> Floats:
    """Whole stars from 1 to 5: [n] f64. `users` holds hobby and background of each row's user: [n] each."""
    hobby, background = users
    favourite = items["hobby"].to_numpy()[item] == hobby
    distance = np.abs(items["level"].to_numpy()[item] - np.linspace(0, 1, config.backgrounds)[background])
    generosity = np.linspace(GENEROSITY, -GENEROSITY, config.backgrounds)[background]
    taste = LIKE_HOBBY * (favourite - 0.5) + LIKE_PRICE * (0.5 - distance) + generosity
    quality = items["quality"].to_numpy()[item]
    stars: Floats = MEAN + quality + config.effect * taste + config.noise * rng.standard_normal(item.size)
    return np.clip(np.rint(stars), 1, 5)


def _times(user: Integers, users: int, rng: np.random.Generator) -> Integers:
    """Unix seconds: a user joins within two years and rates something about twice a month: [n] i64."""
    joined = FIRST_DAY + rng.integers(2 * YEAR, size=users)
    return joined[user] + rng.integers(YEAR, size=user.size)


def _ids(kind: str, numbers: Integers, count: int) -> list[str]:
    width = len(str(count))
    names = np.array([f"{kind}-{number:0{width}d}" for number in range(count)])
    return names[numbers].tolist()  # type: ignore[no-any-return]
