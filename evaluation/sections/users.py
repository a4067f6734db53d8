"""Which lines the sections about users speak of: ours, what it is measured against, and the other codes."""

from typing import Final

from userip.evaluation.plan import NO_FIELD
from userip.evaluation.results import BASE
from userip.evaluation.sections.judge import Judge, Line
from userip.evaluation.sections.tables import Group, methods_table
from userip.evaluation.sections.wording import OURS, method_name, recommender_name
from userip.reporting.blocks import Table

CODES: Final = (
    BASE, "random", "shuffled", "mean-rating", "activity", "kmeans", "genre-kmeans", "statistics", "statistics-mf",
    "rating-bias",
)  # fmt: skip
STATISTICS: Final = ("statistics", "statistics-mf")
NOTHING_OF_OURS: Final = "UserIP itself has no predictions here; the protocol says why."


def main_recommender(judge: Judge) -> str:
    """The recommender that claims are made with, fixed before any figure is seen.

    Unseen users: the one without a user field, where codes are all that is known of them; seen users: the DCN. The
    other where UserIP has no cells of it.
    """
    order = [f"dcn{NO_FIELD}", "dcn"] if judge.results.split == "users" else ["dcn", f"dcn{NO_FIELD}"]
    return next((name for name in order if judge.line("controls", OURS, name)), order[0])


def ours(judge: Judge) -> Line | None:
    """UserIP with the main recommender."""
    return judge.line("controls", OURS, main_recommender(judge))


def other_codes(judge: Judge, methods: tuple[str, ...] = CODES) -> list[Line]:
    """Codes of other origin with the main recommender, in the order of `methods`; those that came out."""
    recommender = main_recommender(judge)
    found = [judge.line("controls", method, recommender) for method in methods]
    return [line for line in found if line]


def controls_table(judge: Judge) -> Table:
    """Every line of the section controls, by recommender, against constant codes with the same recommender."""
    lines = judge.lines("controls")
    first = main_recommender(judge)
    recommenders = sorted({line.recommender for line in lines}, key=lambda name: (name == "", name != first, name))
    groups = []
    for name in recommenders:
        # Own ways to be told of a user's history need no codes; "" is the constant rate.
        mine = [(_named(line, judge), line) for line in lines if line.recommender == name]
        groups.append(Group(recommender_name(name) or "no recommender", mine, judge.line("controls", BASE, name)))
    return methods_table(
        judge, "Codes of every origin, the same number and sizes", groups, "controls", "constant codes",
        "Means over seeds, on the test rows; difference to constant codes with the same recommender, with its 95 % "
        "interval, and in how many seeds it is above zero. Bold: best of its group.",
    )  # fmt: skip


def _named(line: Line, judge: Judge) -> str:
    if line.method == "none" and judge.results.split == "users" and not line.recommender.endswith(NO_FIELD):
        return "no codes (unknown-user row)"
    return method_name(line.method)
