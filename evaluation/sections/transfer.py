"""Codes that were trained with a DCN, given to other recommenders (Table 4)."""

from userip.evaluation.results import BASE
from userip.evaluation.sections.judge import Judge
from userip.evaluation.sections.tables import not_done_rows
from userip.evaluation.sections.wording import (
    OURS,
    estimate,
    listed,
    recommender_name,
    say,
    sign_count,
    verdict_of,
)
from userip.reporting.blocks import Cell, Column, IntervalRow, Intervals, Section, Table

COLUMNS = (
    Column("recommender"),
    Column("AUC, constant codes", "metric"),
    Column("AUC, UserIP codes", "metric"),
    Column("difference of AUC", "difference", "higher"),
    Column("seeds above"),
    Column("difference of logloss", "difference", "lower"),
)


def codes_transfer(judge: Judge) -> list[Section]:
    """UserIP codes against constant codes in every recommender of the plan."""
    pairs = [(mine, judge.line("transfer", BASE, mine.recommender)) for mine in judge.lines("transfer", OURS)]
    found = [(mine, other, judge.difference(mine, other)) for mine, other in pairs if other is not None]
    failed = not_done_rows(judge.results, ("transfer",), len(COLUMNS))
    if not found and not failed:
        return []
    rows: list[tuple[Cell, ...]] = []
    for mine, other, gain in found:
        figures = [judge.measures(one)["auc"] for one in (other, mine)]
        loss = judge.difference(mine, other, "logloss")
        rows.append((recommender_name(mine.recommender), *figures, estimate(gain), sign_count(gain), estimate(loss)))
    note = "The codes were trained with a DCN as surrogate; the recommenders here were fitted to them as they are."
    table = Table("UserIP codes against constant codes", COLUMNS, tuple(rows + failed), note)
    names = [recommender_name(mine.recommender) for mine, _, _ in found]
    forest = Intervals(
        "What UserIP codes gain in other recommenders", "AUC with UserIP codes minus AUC with constant codes",
        tuple(IntervalRow(name, one.mean, one.low, one.high) for name, (_, _, one) in zip(names, found, strict=True)),
    )  # fmt: skip
    above = [name for name, (_, _, one) in zip(names, found, strict=True) if one.low > 0]
    below = [name for name, (_, _, one) in zip(names, found, strict=True) if one.high < 0]
    said = [f"{name} {say(one)}" for name, (_, _, one) in zip(names, found, strict=True)]
    answer = f"Above constant codes in {len(above)} of {len(found)}, below in {len(below)}: {listed(said)} AUC."
    if not found:
        answer = "No pair of UserIP and constant codes came out; the protocol says why."
    verdict = verdict_of([one for _, _, one in found])
    question = "Do codes trained with a DCN help other recommenders too?"
    return [
        Section("Transfer to other recommenders", question, answer, verdict, ((forest,) if found else ()) + (table,))
    ]
