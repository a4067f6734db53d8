"""How methods, recommenders and figures are called in the report, and how a verdict follows from intervals."""

from collections.abc import Sequence
from typing import Final

from userip.evaluation.intervals import Difference
from userip.evaluation.plan import NO_FIELD
from userip.evaluation.sections.judge import Line
from userip.reporting.blocks import Estimate, Kind, Outcome
from userip.reporting.numbers import write_cell

OURS: Final = "userip"

_METHODS: Final = {
    "none": "no codes",
    "constant": "constant codes",
    "random": "random codes",
    "shuffled": "shuffled UserIP codes",
    "mean-rating": "mean-rating bins",
    "activity": "activity bins",
    "kmeans": "k-means of items met",
    "genre-kmeans": "k-means of attributes liked",
    "statistics": "statistics codes",
    "statistics-mf": "statistics codes (MF)",
    "rating-bias": "rating-bias bins (likes and ratings)",
    "userip": "UserIP codes",
    "retrained": "retrained with their history",
    "kar-style": "KAR-style",
    "pepler-style": "PEPLER-style",
    "rella-style": "ReLLa-style",
    "constant-rate": "constant rate",
}
_RECOMMENDERS: Final = {
    "ffm": "FFM",
    "afm": "AFM",
    "fibinet": "FiBiNET",
    "difm": "DIFM",
    "afn": "AFN",
    "deepfm": "DeepFM",
    "autoint": "AutoInt",
    "onn": "ONN",
    "pnn": "PNN",
    "dcnv2": "DCNv2",
    "dcn": "DCN",
}


def method_name(method: str) -> str:
    """ "UserIP codes" for "userip"; a method that is not known by a name is shown by its own."""
    return _METHODS.get(method, method)


def recommender_name(recommender: str) -> str:
    """ "DCN without user field" for "dcn-no-user-field"."""
    plain = recommender.removesuffix(NO_FIELD)
    return _RECOMMENDERS.get(plain, plain) + (" without user field" if plain != recommender else "")


def full_name(line: Line) -> str:
    """Recommender and method, as "DCN, no codes"; the method alone where it is its own recommender."""
    name = method_name(line.method)
    return f"{recommender_name(line.recommender)}, {name}" if line.recommender else name


def estimate(difference: Difference) -> Estimate:
    """For a cell of a table."""
    return Estimate(difference.mean, difference.low, difference.high)


def say(difference: Difference, kind: Kind = "difference") -> str:
    """The figure and its interval in a sentence."""
    return write_cell(estimate(difference), kind)


def say_gain(difference: Difference) -> str:
    """Figure, interval and seeds above zero in brackets, behind what it is above or below."""
    seeds = f", {sign_count(difference)} seeds above" if difference.per_seed else ""
    return f"({say(difference)}{seeds})"


def sign_count(difference: Difference) -> str:
    """In how many seeds the difference is above zero, as "4 of 5"."""
    return f"{difference.above} of {len(difference.per_seed)}" if difference.per_seed else ""


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def verdict_of(differences: Sequence[Difference], *, missed: bool = False) -> Outcome:
    """yes: every interval lies above zero; no: one lies below zero, or a stated goal was missed; else undecided."""
    if missed or any(one.high < 0 for one in differences):
        return "no"
    return "yes" if differences and all(one.low > 0 for one in differences) else "undecided"


def above_below(difference: Difference) -> str:
    """ "above", "below" or, where the interval holds zero or is not known, "not distinguishable from"."""
    return "above" if difference.low > 0 else "below" if difference.high < 0 else "not distinguishable from"
