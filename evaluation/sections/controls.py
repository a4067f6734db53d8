"""Is it the language profile, or would any grouping of users do (docs/method.md#controls)?"""

from userip.evaluation.sections.judge import Judge
from userip.evaluation.sections.users import NOTHING_OF_OURS, STATISTICS, other_codes, ours
from userip.evaluation.sections.wording import (
    above_below,
    full_name,
    listed,
    method_name,
    recommender_name,
    say,
    say_gain,
    sign_count,
    verdict_of,
)
from userip.reporting.blocks import IntervalRow, Intervals, Section


def against_other_codes(judge: Judge) -> list[Section]:
    """Two claims: above the better statistics codes, and above every control."""
    return [*_against_statistics(judge), *_against_every(judge)]


def _against_statistics(judge: Judge) -> list[Section]:
    best = judge.best(other_codes(judge, STATISTICS))
    mine = ours(judge)
    title = "Against statistics codes"
    question = "Are codes read by a language model better than statistics codes, which need none?"
    if best is None:
        return []
    if mine is None:
        return [Section(title, question, NOTHING_OF_OURS, "undecided")]
    found = judge.difference(mine, best)
    answer = (
        f"In AUC, UserIP codes are {above_below(found)} {method_name(best.method)}, the better by validation, with "
        f"{recommender_name(mine.recommender)} {say_gain(found)}."
    )
    return [Section(title, question, answer, verdict_of([found]))]


def _against_every(judge: Judge) -> list[Section]:
    others = other_codes(judge)
    mine = ours(judge)
    title = "Against every other grouping"
    question = "Is it the language profile, or would any grouping of users do?"
    if not others:
        return []
    if mine is None:
        return [Section(title, question, NOTHING_OF_OURS, "undecided")]
    found = [(line, judge.difference(mine, line)) for line in others]
    above = [method_name(line.method) for line, one in found if one.low > 0]
    below = [method_name(line.method) for line, one in found if one.high < 0]
    rest = [method_name(line.method) for line, one in found if not one.excludes_zero]
    parts = [f"above {listed(above)}"] if above else []
    parts += [f"below {listed(below)}"] if below else []
    parts += [f"not distinguishable from {listed(rest)}"] if rest else []
    least = min((one for _, one in found), key=lambda one: one.mean)
    answer = (
        f"In AUC, UserIP codes are {'; '.join(parts)} ({len(above)} of {len(found)} beaten; least gain {say(least)})."
    )
    forest = Intervals(
        "UserIP codes minus other codes of the same shape",
        f"difference of AUC with {recommender_name(mine.recommender)}",
        tuple(
            IntervalRow(f"{method_name(line.method)} ({sign_count(one)})", one.mean, one.low, one.high)
            for line, one in found
        ),
        note=f"{full_name(mine)}. In brackets: seeds in which UserIP is above.",
    )
    return [Section(title, question, answer, verdict_of([one for _, one in found]), (forest,))]
