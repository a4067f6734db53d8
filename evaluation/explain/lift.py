"""Which votes the users of a code cast more often than all users do, and how sure that is.

The unit is the user: a key (item, genre, word) has one vote in [0, 1] per user, and a code is a group of users.

    lift      mean vote of the code's users / mean vote of all users
    interval  95 %, of the log of that ratio by the delta method. Half a vote is added on either side for the
              spread alone (Haldane), so that a key without other votes is not certain.
    p         chance of such a mean, or a higher one, if the code were so many users drawn at random: hypergeometric
              for votes of 0 and 1 (Fisher's exact test), else Bennett's bound, which holds for draws without
              replacement too (Hoeffding 1963, theorem 4). Neither is an approximation, so neither fails for rare keys.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import hypergeom

Floats = NDArray[np.float64]
Z: Final = 1.959964  # 97.5 % point of the normal distribution


@dataclass(frozen=True)
class Lift:
    """One key that stands out in one code.

    kind     "item", "title" for a word of titles, or the column of the catalogue
    users    users of the code who vote for it       p  adjusted: times the number of candidates, at most 1
    """

    kind: str
    key: str
    name: str
    users: int
    lift: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, eq=False)
class Sums:
    """Votes summed over the users of each code: value, square, support float64 [K, keys]; size float64 [K]."""

    keys: list[str]
    value: Floats
    square: Floats
    support: Floats
    size: Floats

    @classmethod
    def of(cls, votes: pl.DataFrame, members: pl.DataFrame, codes: int, min_users: int) -> "Sums":
        """Sum votes (user_id, key, value; absent = 0) over members (user_id, code).

        Kept are the keys that at least `min_users` users vote for, whatever their codes: the candidates.
        """
        users = members.sort("user_id").with_row_index("user")
        code = users["code"].to_numpy().astype(np.int64)
        found = votes.join(users.select("user_id", "user"), on="user_id")
        keys = found.group_by("key").len("users").filter(pl.col("users") >= min_users)["key"].sort()
        index = pl.DataFrame({"key": keys}).with_row_index("column")
        cells = found.join(index, on="key").sort("user", "column")  # joins keep no order; sums must
        place = (cells["user"].to_numpy(), cells["column"].to_numpy())
        value = cells["value"].to_numpy()
        group = csr_array((np.ones(len(code)), (code, np.arange(len(code)))), shape=(codes, len(code)))
        value_, square, support = (
            np.asarray((group @ csr_array((part, place), shape=(len(code), len(keys)))).todense())
            for part in (value, value**2, np.ones(len(value)))
        )
        size = np.bincount(code, minlength=codes).astype(np.float64)
        return cls(keys.to_list(), value_, square, support, size)

    @property
    def binary(self) -> bool:
        """Whether every vote is a whole one."""
        return bool(np.array_equal(self.value, self.support))

    @property
    def share(self) -> Floats:
        """Mean vote of each code's users: [K, keys], 0 for a code without users."""
        return self.value / np.maximum(self.size, 1)[:, None]

    @property
    def everybody(self) -> Floats:
        """Mean vote of all users: [keys]."""
        return np.asarray(self.value.sum(axis=0) / max(self.size.sum(), 1))

    def lift(self) -> tuple[Floats, Floats, Floats]:
        """Lift and the ends of its interval, [K, keys] each; 0, 0, 0 for a code without users."""
        n, N = self.size[:, None], self.size.sum()
        lift = self.share / self.everybody
        vote = self.value.sum(axis=0) / self.support.sum(axis=0)
        inside, outside = n + 1, N - n + 1
        a, b = (self.value + vote / 2) / inside, (self.value.sum(axis=0) - self.value + vote / 2) / outside
        spread_a = (self.square + vote**2 / 2) / inside - a**2
        spread_b = (self.square.sum(axis=0) - self.square + vote**2 / 2) / outside - b**2
        # log(a / (p a + (1 - p) b)): its derivative by a is (1 - p) b / (a m), by b -(1 - p) / m.
        p = inside / (inside + outside)
        both = p * a + (1 - p) * b
        variance = (b / a) ** 2 * spread_a / inside + spread_b / outside
        error = (1 - p) / both * np.sqrt(np.maximum(variance, 0))
        most = N / np.maximum(n, 1)  # all votes in this code
        low, high = lift * np.exp(-Z * error), np.minimum(lift * np.exp(Z * error), np.maximum(most, lift))
        return lift, low, high

    def chance(self) -> Floats:
        """p of every code and key, [K, keys], not adjusted."""
        if self.binary:
            N, votes = self.size.sum(), self.support.sum(axis=0)
            return np.asarray(hypergeom.sf(self.support - 1, N, votes[None], self.size[:, None]))
        return bennett(self)


def bennett(sums: Sums) -> Floats:
    """P(sum of n draws >= value) <= exp(-n s^2 / b^2 h(b t / (n s^2))), h(u) = (1 + u) log(1 + u) - u: [K, keys].

    t is the excess over the expected sum, s^2 the variance of all users' votes, b = 1 - mean the most that one vote
    exceeds the mean by.
    """
    mean = sums.everybody
    variance = np.maximum(sums.square.sum(axis=0) / max(sums.size.sum(), 1) - mean**2, 1e-12) * sums.size[:, None]
    excess = np.maximum(sums.value - sums.size[:, None] * mean, 0)
    reach = np.maximum(1 - mean, 1e-12)
    u = reach * excess / np.maximum(variance, 1e-12)
    return np.asarray(np.exp(-variance / reach**2 * ((1 + u) * np.log1p(u) - u)))
