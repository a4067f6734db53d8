"""Users whom the recommender knows: do codes add anything to what it learned of them (docs/method.md#controls)?"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from userip.evaluation.results import BASE
from userip.evaluation.sections.judge import Judge, Line
from userip.evaluation.sections.users import NOTHING_OF_OURS, controls_table, ours
from userip.evaluation.sections.wording import above_below, listed, method_name, say_gain, verdict_of
from userip.reporting.blocks import IntervalRow, Intervals, Section

CLAIMED: Final = (BASE, "random")  # what the stated goal names; the plain recommender stands beside
TITLE: Final = "Users seen"
QUESTION: Final = (
    "Do codes help users whom the recommender knows: is it better with them than with constant codes and with random "
    "codes of the same shape?"
)


def seen_users(judge: Judge) -> list[Section]:
    """Differences to constant codes, random codes and no codes, and by how active users are."""
    if judge.results.split == "users":
        return []
    mine = ours(judge)
    table = controls_table(judge)
    if mine is None:
        return [Section(TITLE, QUESTION, NOTHING_OF_OURS, "undecided", (table,))]
    others = [
        line for name in (*CLAIMED, "none") if (line := judge.line("controls", name, mine.recommender)) is not None
    ]
    found = [(line, judge.difference(mine, line)) for line in others]
    claimed = [one for line, one in found if line.method in CLAIMED]
    told = [f"{above_below(one)} {method_name(line.method)} {say_gain(one)}" for line, one in found]
    answer = f"In AUC, UserIP codes are {listed(told)}." if told else "There is nothing to compare with."
    verdict = verdict_of(claimed)
    if verdict == "yes" and len(claimed) < len(CLAIMED):
        verdict = "undecided"
    rows = tuple(IntervalRow(method_name(line.method), one.mean, one.low, one.high) for line, one in found)
    gains = Intervals("What UserIP codes gain over", "AUC with UserIP codes minus AUC with ..", rows)
    return [Section(TITLE, QUESTION, answer, verdict, (gains, *_by_activity(judge, mine, others), table))]


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


def _by_activity(judge: Judge, mine: Line, others: list[Line]) -> list[Intervals]:
    groups = quarters(judge.rows_per_user(), judge.users)
    rows = []
    for line in others:
        for name, inside in groups:
            found = judge.among(inside, mine, line)
            rows.append(IntervalRow(name, found.mean, found.low, found.high, f"over {method_name(line.method)}"))
    if not rows:
        return []
    return [
        Intervals(
            "By how active users are", "AUC with UserIP codes minus AUC with ..", tuple(rows),
            note="Users in quarters by their train rows. One in twenty intervals excludes zero by chance.",
        )
    ]  # fmt: skip
