"""Users seen and the other codes: do codes add to what a recommender learned of its users, and do others do as well?"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from userip.evaluation.plan import NO_FIELD
from userip.evaluation.results import BASE
from userip.evaluation.sections.claims import NOTHING_OF_OURS, claim, forest, interval_row, sign_count
from userip.evaluation.sections.comparisons import Comparisons, Row
from userip.evaluation.sections.names import method_name, recommender_name
from userip.evaluation.sections.tables import Group, figures_table
from userip.reporting.blocks import Intervals, Section, Table
from userip.training.data.dataset import NEW_USERS
from userip.training.formulas import FORMULAS

CODES: Final = (
    BASE, "random", "shuffled", "mean-rating", "activity", "kmeans", "genre-kmeans", "statistics", "statistics-mf",
    "rating-bias",
)  # fmt: skip
STATISTICS: Final = ("statistics", "statistics-mf")
CLAIMED: Final = (BASE, "random")  # what the stated goal names; the plain recommender is shown as well


def main_recommender(compare: Comparisons) -> str:
    """The recommender that claims are made with, fixed before any figure is seen.

    Unseen users: the one without a user field, where codes are all that is known of them; seen users: the DCN. The
    other where the method has no results of it.
    """
    order = [f"dcn{NO_FIELD}", "dcn"] if compare.results.split in NEW_USERS else ["dcn", f"dcn{NO_FIELD}"]
    return next((name for name in order if compare.row("controls", compare.results.method, name)), order[0])


def ours(compare: Comparisons) -> Row | None:
    """The evaluated method with the main recommender."""
    return compare.row("controls", compare.results.method, main_recommender(compare))


def other_codes(compare: Comparisons, methods: tuple[str, ...] = CODES) -> list[Row]:
    """Codes of other origin with the main recommender, in the order of `methods`; those that came out."""
    recommender = main_recommender(compare)
    found = [compare.row("controls", method, recommender) for method in methods if method != compare.results.method]
    return [row for row in found if row]


def controls_table(compare: Comparisons) -> Table:
    """Every row of the section controls, by recommender, against constant codes with the same recommender.

    What has no network is held against constant codes with the main recommender.
    """
    rows = compare.rows("controls")
    first = main_recommender(compare)
    groups = []
    for name in sorted({row.recommender for row in rows}, key=lambda name: (name == "", name != first, name)):
        mine = [(_named(row, compare), row) for row in rows if row.recommender == name]
        groups.append(Group(recommender_name(name) or "no network", mine, compare.row("controls", BASE, name or first)))
    title = "Codes of every origin, the same number and sizes"
    return figures_table(compare, title, groups, ("controls",), "constant codes")


def seen_users(compare: Comparisons) -> list[Section]:
    """Differences to constant codes, random codes and no codes, and by how active users are."""
    if compare.results.split in NEW_USERS:
        return []
    title, question = "Users seen", "Do codes help users whom the recommender knows, against constant and random codes?"
    mine, table = ours(compare), controls_table(compare)
    if mine is None:
        return [Section(title, question, NOTHING_OF_OURS, "undecided", (table,))]
    rows = [row for name in (*CLAIMED, "none") if (row := compare.row("controls", name, mine.recommender))]
    found = {row.method: (method_name(row.method), compare.difference(mine, row)) for row in rows}
    name = method_name(mine.method)
    gains = forest(f"What {name} gain over", f"AUC with {name} minus AUC with ..", list(found.values()))
    claimed = [found[method] for method in CLAIMED if method in found]
    section = claim(title, question, name, claimed, (gains, *_by_activity(compare, mine, rows), table))
    if section.verdict == "yes" and len(claimed) < len(CLAIMED):
        return [Section(title, question, section.answer, "undecided", section.blocks)]
    return [section]


def against_other_codes(compare: Comparisons) -> list[Section]:
    """Two claims: above the better statistics codes, and above every control."""
    mine, others = ours(compare), other_codes(compare)
    best = compare.best(other_codes(compare, STATISTICS))
    statistics = ("Against statistics codes", "Are the codes better than statistics codes, the better by validation?")
    every = ("Against every other grouping", "Is it the profile, or would any grouping of users do?")
    if mine is None:
        asked = [statistics] * (best is not None) + [every] * bool(others)
        return [Section(*one, NOTHING_OF_OURS, "undecided") for one in asked]
    name, with_ = method_name(mine.method), recommender_name(mine.recommender)
    sections = []
    if best is not None:
        found = [(method_name(best.method), compare.difference(mine, best))]
        sections.append(claim(*statistics, f"{name} with {with_}", found))
    if others:
        differences = [(row, compare.difference(mine, row)) for row in others]
        named = [(method_name(row.method), one) for row, one in differences]
        counted = [(f"{who} ({sign_count(one)})", one) for who, one in named]
        note = f"In brackets: seeds in which {name} are above."
        plot = forest(f"{name} minus other codes of the same shape", f"difference of AUC with {with_}", counted, note)
        sections.append(claim(*every, f"{name} with {with_}", named, (plot,)))
    return sections


def against_formulas(compare: Comparisons) -> list[Section]:
    """Whether the method orders a user's candidates better than every formula over counts."""
    rows = [row for name in FORMULAS if (row := compare.row("controls", name, ""))]
    title = "Against formulas"
    question = "Does the method order a user's candidates better than every formula over counts, which has no network?"
    mine = ours(compare)
    if not rows:
        return []
    if mine is None:
        return [Section(title, question, NOTHING_OF_OURS, "undecided")]
    found = [(method_name(row.method), compare.difference(mine, row, "gauc")) for row in rows]
    who = f"{method_name(mine.method)} with {recommender_name(mine.recommender)}"
    plot = forest(f"{who} minus formulas", "difference of GAUC", found)
    return [claim(title, question, who, found, (plot,), "GAUC")]


def quarters(rows: NDArray[np.int64], users: NDArray[np.object_]) -> list[tuple[str, NDArray[np.bool_]]]:
    """(name, bool [n]) of the test rows of each quarter of users, least active first; users without rows on their own.

    rows int64 [n]: train rows of the user of each test row. Quarters are of users, so that none counts twice; users
    of as many rows stay together, so quarters can differ in size, and an empty one is left out.
    """
    _, first = np.unique(users, return_index=True)
    counts = rows[first]
    known = counts[counts > 0]
    groups = [("no rows of theirs", rows == 0)]
    if len(known):
        cuts = np.quantile(known, [0.25, 0.5, 0.75])
        quarter = np.where(rows > 0, np.searchsorted(cuts, rows, side="left"), -1)
        for number in range(4):
            inside = quarter == number
            if inside.any():
                low, high = int(rows[inside].min()), int(rows[inside].max())
                groups.append((f"quarter {number + 1}: {low:,} to {high:,} rows", inside))
    return [(name, inside) for name, inside in groups if inside.any()]


def _by_activity(compare: Comparisons, mine: Row, others: list[Row]) -> list[Intervals]:
    groups = quarters(compare.activity(), compare.users)
    rows = tuple(
        interval_row(name, compare.among(inside, mine, row), f"over {method_name(row.method)}")
        for row in others
        for name, inside in groups
    )
    axis = f"AUC with {method_name(mine.method)} minus AUC with .."
    note = "Users in quarters by their train rows. One in twenty intervals excludes zero by chance."
    return [Intervals("By how active users are", axis, rows, note=note)] if rows else []


def _named(row: Row, compare: Comparisons) -> str:
    if row.method == "none" and compare.results.split in NEW_USERS and not row.recommender.endswith(NO_FIELD):
        return "no codes (unknown-user row)"
    return method_name(row.method)
