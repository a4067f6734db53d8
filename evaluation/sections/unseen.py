"""Users whom the recommender has never seen: do codes by fold-in alone replace retraining?"""

from typing import Final

from userip.evaluation.intervals import Difference
from userip.evaluation.plan import NO_FIELD
from userip.evaluation.results import BASE
from userip.evaluation.sections.claims import NOTHING_OF_OURS, claim, interval_row, say, verdict_of
from userip.evaluation.sections.comparisons import Comparisons, Row
from userip.evaluation.sections.names import full_name, method_name, recommender_name
from userip.evaluation.sections.users import STATISTICS, controls_table, main_recommender, ours
from userip.reporting.blocks import Intervals, Outcome, Reference, Section
from userip.training.data.dataset import NEW_USERS

GOAL: Final = 0.95
TITLE: Final = "Users never seen"
QUESTION: Final = (
    "Do codes by fold-in alone bring users never seen at least 95 % of the way from the unknown-user row to a DCN "
    "retrained with their history?"
)


def unseen_users(compare: Comparisons) -> list[Section]:
    """Recovered share, and whether codes even pass the retrained DCN; nothing for splits without users held out."""
    if compare.results.split not in NEW_USERS:
        return []
    table = controls_table(compare)
    mine = ours(compare)
    unknown, retrained = compare.row("controls", "none", "dcn"), compare.row("controls", "retrained", "dcn")
    if mine is None or unknown is None:
        what = NOTHING_OF_OURS if mine is None else "The DCN with the unknown-user row has no predictions to compare."
        return [Section(TITLE, QUESTION, what, "undecided", (table,))]
    gains = _gains(compare, unknown, retrained)
    if retrained is None:
        what = "There is no retrained DCN to measure the way with."
        return [Section(TITLE, QUESTION, what, "undecided", (gains, table))]
    share = compare.recovered(mine, unknown, retrained)
    constant = compare.row("controls", BASE, mine.recommender)
    verdict = recovered_verdict(share, [compare.difference(mine, row) for row in (unknown, constant) if row])
    ends = [f"{compare.measures(row)['auc']:.4f}" for row in (unknown, retrained)]
    answer = f"Retraining is not clearly better than the unknown-user row ({ends[1]}, {ends[0]}): no way to measure."
    if share.low == share.low:
        who = f"{recommender_name(mine.recommender)} with {method_name(mine.method)}"
        answer = f"{who} goes {say(share, 'percent')} of the way from AUC {ends[0]} to {ends[1]}."
    beyond = "Do codes even beat a DCN retrained with these users' history?"
    found = [("the retrained DCN", compare.difference(mine, retrained))]
    return [
        Section(TITLE, QUESTION, answer, verdict, (_shares(compare, unknown, retrained), gains, table)),
        claim("Against retraining", beyond, full_name(mine), found),
    ]


def recovered_verdict(share: Difference, against: list[Difference]) -> Outcome:
    """no: the mean misses the goal, or a difference is below zero; yes: interval above the goal, differences above 0.

    A mean above the goal whose interval reaches below it leaves the question undecided; so does a share without an
    interval (NaN), where retraining is not clearly better.
    """
    verdict = verdict_of(against, missed=share.mean < GOAL and share.low == share.low)
    return "undecided" if verdict == "yes" and not share.low >= GOAL else verdict


def _mine(compare: Comparisons) -> list[Row]:
    first = main_recommender(compare)
    names = [first, *(name for name in (f"dcn{NO_FIELD}", "dcn") if name != first)]
    return [row for name in names if (row := compare.row("controls", compare.results.method, name))]


def _shares(compare: Comparisons, unknown: Row, retrained: Row) -> Intervals:
    first = main_recommender(compare)
    statistics = [row for name in STATISTICS if (row := compare.row("controls", name, first))]
    rows = [(full_name(row), compare.recovered(row, unknown, retrained)) for row in [*_mine(compare), *statistics]]
    return Intervals(
        "Share of the way that codes recover", "share of the way from the unknown-user row to retraining",
        tuple(interval_row(name, one) for name, one in rows), (Reference("goal", GOAL), Reference("retrained", 1.0)),
        "percent",
    )  # fmt: skip


def _gains(compare: Comparisons, unknown: Row, retrained: Row | None) -> Intervals:
    rows = []
    for row in _mine(compare):
        others = {
            "above the unknown-user row": unknown,
            "above constant codes": compare.row("controls", BASE, row.recommender),
            "above the retrained DCN": retrained,
        }
        for name, other in others.items():
            rows += [interval_row(name, compare.difference(row, other), full_name(row))] if other else []
    return Intervals("What codes gain for users never seen", "difference of AUC", tuple(rows))
