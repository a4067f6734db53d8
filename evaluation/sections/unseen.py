"""Users whom the recommender has never seen: do codes by fold-in alone replace retraining (docs/method.md#fold-in)?"""

from typing import Final

from userip.evaluation.intervals import Difference
from userip.evaluation.plan import NO_FIELD
from userip.evaluation.results import BASE
from userip.evaluation.sections.judge import Judge, Line
from userip.evaluation.sections.users import NOTHING_OF_OURS, controls_table, main_recommender, ours
from userip.evaluation.sections.wording import (
    OURS,
    above_below,
    full_name,
    recommender_name,
    say,
    say_gain,
    verdict_of,
)
from userip.reporting.blocks import Block, IntervalRow, Intervals, Outcome, Reference, Section

GOAL: Final = 0.95
TITLE: Final = "Users never seen"
QUESTION: Final = (
    "Do codes by fold-in alone bring users never seen at least 95 % of the way from the unknown-user row to a DCN "
    "retrained with their history?"
)


def unseen_users(judge: Judge) -> list[Section]:
    """Recovered share, and whether codes even pass the retrained DCN; nothing for splits other than `users`."""
    if judge.results.split != "users":
        return []
    table = controls_table(judge)
    mine = ours(judge)
    unknown, retrained = judge.line("controls", "none", "dcn"), judge.line("controls", "retrained", "dcn")
    if mine is None or unknown is None:
        what = NOTHING_OF_OURS if mine is None else "The DCN with the unknown-user row has no predictions to compare."
        return [Section(TITLE, QUESTION, what, "undecided", (table,))]
    constant = judge.line("controls", BASE, mine.recommender)
    against = [judge.difference(mine, unknown)] + ([judge.difference(mine, constant)] if constant else [])
    gained = f"In AUC it is {above_below(against[0])} the unknown-user row {say_gain(against[0])}"
    if constant:
        gained += f" and {above_below(against[1])} constant codes {say_gain(against[1])}"
    gained += "."
    blocks = [one for one in (_shares(judge, unknown, retrained), _gains(judge, unknown, retrained)) if one]
    if retrained is None:
        answer = f"{gained} There is no retrained DCN to measure the way with."
        return [Section(TITLE, QUESTION, answer, "undecided", (*blocks, table))]
    share = judge.recovered(mine, unknown, retrained)
    answer = f"{_told(judge, share, mine, unknown, retrained)} {gained}"
    verdict = recovered_verdict(share, against)
    return [
        Section(TITLE, QUESTION, answer, verdict, (*blocks, table)),
        _above_retrained(judge, mine, retrained),
    ]


def recovered_verdict(share: Difference, against: list[Difference]) -> Outcome:
    """no: the mean misses the goal, or a difference is below zero; yes: interval above the goal, differences above 0.

    A mean above the goal whose interval reaches below it leaves the question undecided; so does a share without an
    interval (NaN), where retraining is not surely better.
    """
    verdict = verdict_of(against, missed=share.mean < GOAL and share.low == share.low)
    return "undecided" if verdict == "yes" and not share.low >= GOAL else verdict


def _told(judge: Judge, share: Difference, mine: Line, unknown: Line, retrained: Line) -> str:
    ends = [judge.measures(line)["auc"] for line in (unknown, mine, retrained)]
    way = f"from AUC {ends[0]:.4f} (unknown-user row) to {ends[2]:.4f} (retrained)"
    if share.low != share.low:
        return f"Retraining is not surely better here, {way}, so there is no way to measure; codes reach {ends[1]:.4f}."
    if share.mean < GOAL:
        goal = "the goal of 95 % is missed"
    else:
        goal = "above the goal of 95 %" if share.low >= GOAL else "95 % is reached in the mean, not by all the interval"
    where = recommender_name(mine.recommender)
    return f"{where} with codes goes {say(share, 'percent')} of the way {way}, reaching {ends[1]:.4f}: {goal}."


def _above_retrained(judge: Judge, mine: Line, retrained: Line) -> Section:
    difference = judge.difference(mine, retrained)
    answer = f"In AUC, {full_name(mine)}, is {above_below(difference)} the retrained DCN {say_gain(difference)}."
    question = "Do codes even beat a DCN retrained with these users' history?"
    return Section("Against retraining", question, answer, verdict_of([difference]))


def _mine(judge: Judge) -> list[Line]:
    first = main_recommender(judge)
    names = [first, *(name for name in (f"dcn{NO_FIELD}", "dcn") if name != first)]
    return [line for name in names if (line := judge.line("controls", OURS, name))]


def _shares(judge: Judge, unknown: Line, retrained: Line | None) -> Block | None:
    if retrained is None:
        return None
    rows = []
    for line in [*_mine(judge), *_statistics(judge)]:
        share = judge.recovered(line, unknown, retrained)
        rows.append(IntervalRow(full_name(line), share.mean, share.low, share.high))
    return Intervals(
        "Share of the way that codes recover", "share of the way from the unknown-user row to retraining", tuple(rows),
        (Reference("goal", GOAL), Reference("retrained", 1.0)), "percent",
        note="Ratio of the two mean differences of AUC, users and seeds redrawn.",
    )  # fmt: skip


def _statistics(judge: Judge) -> list[Line]:
    first = main_recommender(judge)
    return [line for name in ("statistics", "statistics-mf") if (line := judge.line("controls", name, first))]


def _gains(judge: Judge, unknown: Line, retrained: Line | None) -> Block:
    rows = []
    for line in _mine(judge):
        pairs = [("above the unknown-user row", unknown), ("above the retrained DCN", retrained)]
        pairs.insert(1, ("above constant codes", judge.line("controls", BASE, line.recommender)))
        for name, other in pairs:
            if other is not None:
                found = judge.difference(line, other)
                rows.append(IntervalRow(name, found.mean, found.low, found.high, full_name(line)))
    return Intervals("What UserIP codes gain for users never seen", "difference of AUC", tuple(rows))
