"""What is asked: users and items drawn by Zipf's law, written into a pool of request bodies before the load.

The k-th most popular of N is drawn with probability proportional to k ** -exponent. The candidates of a request
are distinct while the catalogue has enough of them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from userip.files import write_text
from userip.loadtests.errors import BenchInputError
from userip.loadtests.scenarios import Route

POOL_INSTANCES: Final = 200_000
SMALLEST_POOL: Final = 128
LARGEST_POOL: Final = 4096


class Population(NamedTuple):
    """Ids, the most popular first."""

    users: tuple[str, ...]
    items: tuple[str, ...]


class Ask(NamedTuple):
    """One user and the candidates to score for them."""

    user_id: str
    item_ids: tuple[str, ...]


@dataclass(frozen=True)
class Workload:
    """A pool of requests to one route; `asks[i]` holds what request i asks: one, or one per request of a batch."""

    route: Route
    asks: tuple[tuple[Ask, ...], ...]

    def __len__(self) -> int:
        return len(self.asks)

    @property
    def method(self) -> str:
        """The HTTP method of all requests."""
        return "GET" if self.route == "/profile" else "POST"

    def path(self, index: int) -> str:
        """The path of request `index`."""
        if self.route != "/profile":
            return self.route
        from urllib.parse import quote

        return f"/profile/{quote(self.asks[index][0].user_id, safe='')}"

    def body(self, index: int) -> bytes:
        """The body of request `index`, JSON without line ends; empty for a GET."""
        if self.route == "/profile":
            return b""
        plain = [ask._asdict() for ask in self.asks[index]]
        document = {"requests": plain} if self.route == "/score/batch" else plain[0]
        return json.dumps(document, separators=(",", ":")).encode()

    def messages(self, host: str) -> list[bytes]:
        """Whole HTTP/1.1 requests, ready to be sent."""
        return [_message(self.method, self.path(i), host, self.body(i)) for i in range(len(self))]

    def write(self, file: Path) -> None:
        """Write as JSON, whole or not at all."""
        write_text(file, json.dumps({"route": self.route, "asks": self.asks}))


def read_workload(file: Path) -> Workload:
    """What `Workload.write` wrote. Raises BenchInputError naming the file."""
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
        asks = tuple(tuple(Ask(user, tuple(items)) for user, items in asked) for asked in content["asks"])
        return Workload(content["route"], asks)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchInputError(f"{file}: not a workload ({error}); start `userip bench` again to write it") from None


def make_workload(
    population: Population, route: Route, candidates: int, batch: int = 1, *, exponent: float = 1.0, seed: int = 0
) -> Workload:
    """A pool of requests, by Zipf's law with `exponent` for users and items; the same seed gives the same pool."""
    rng = np.random.default_rng(seed)
    pool = min(max(POOL_INSTANCES // (max(candidates, 1) * batch), SMALLEST_POOL), LARGEST_POOL)
    users = _draw(cumulative(len(population.users), exponent), pool * batch, rng)
    law = cumulative(len(population.items), exponent)
    wanted = 0 if route == "/profile" else candidates
    asks = [
        Ask(population.users[user], tuple(population.items[item] for item in distinct(law, wanted, rng)))
        for user in users
    ]
    return Workload(route, tuple(tuple(asks[start : start + batch]) for start in range(0, len(asks), batch)))


def cumulative(size: int, exponent: float) -> NDArray[np.float64]:
    """The distribution function of Zipf's law over ranks 1..size, float64 [size]; the last is 1."""
    weights = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    law: NDArray[np.float64] = weights.cumsum()
    law /= law[-1]
    return law


def distinct(law: NDArray[np.float64], count: int, rng: np.random.Generator) -> list[int]:
    """Draw `count` ranks, distinct unless there are fewer ranks than that: then all of them, over and over."""
    if count >= len(law):
        shuffled: list[int] = rng.permutation(len(law)).tolist()
        return (shuffled * -(-count // len(law)))[:count]
    chosen: dict[int, None] = {}
    # A steep law hardly ever draws its rare ranks: after some rounds the most popular of the rest fill up.
    for _ in range(20):
        chosen.update(dict.fromkeys(_draw(law, 2 * count, rng)))
        if len(chosen) >= count:
            return list(chosen)[:count]
    chosen.update(dict.fromkeys(range(len(law))))
    return list(chosen)[:count]


def _draw(law: NDArray[np.float64], count: int, rng: np.random.Generator) -> list[int]:
    drawn: list[int] = np.searchsorted(law, rng.random(count), side="right").tolist()
    return drawn


def _message(method: str, path: str, host: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def population_of_dataset(directory: Path) -> Population:
    """Users and items by their number of train rows. Raises DataError for no data set directory."""
    import polars as pl

    from userip.training.data.dataset import Dataset

    rows = Dataset.open(directory).rows("train")

    def ranked(column: str) -> tuple[str, ...]:
        counts = rows.group_by(column).len().sort(["len", column], descending=[True, False])
        return tuple(counts[column].cast(pl.String))

    return Population(ranked("user_id"), ranked("item_id"))


def population_of_release(directory: Path, seed: int = 0) -> Population:
    """Users and items that a release knows, in an order drawn with `seed`: a release does not say how popular.

    Raises BenchInputError naming the file that is missing.
    """
    import polars as pl

    try:
        users = pl.read_parquet(directory / "profiles.parquet", columns=["user_id"])["user_id"].to_list()
        items = list(_item_ids(directory / "items.npz"))
    except FileNotFoundError as error:
        raise BenchInputError(f"--release {directory}: {error}; name a release directory (RUN/release)") from None
    rng = np.random.default_rng(seed)
    return Population(_shuffled(users, rng), _shuffled(items, rng))


def _item_ids(file: Path) -> Iterator[str]:
    with np.load(file, allow_pickle=False) as arrays:
        joined, cuts = arrays["blob"].tobytes(), arrays["offsets"].tolist()
    return (joined[start:end].decode() for start, end in pairwise(cuts))


def _shuffled(ids: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(ids[i] for i in rng.permutation(len(ids)).tolist())
