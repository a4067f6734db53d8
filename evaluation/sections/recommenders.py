"""UserIP against other recommenders and against other uses of a language model (Table 2)."""

from userip.evaluation.results import BASE
from userip.evaluation.sections.judge import Judge, Line
from userip.evaluation.sections.tables import not_done_rows
from userip.evaluation.sections.users import NOTHING_OF_OURS, ours
from userip.evaluation.sections.wording import (
    above_below,
    estimate,
    full_name,
    method_name,
    recommender_name,
    say_gain,
    sign_count,
    verdict_of,
)
from userip.reporting.blocks import Cell, Column, Section, Table
from userip.reporting.numbers import write_number
from userip.training.recommender.metrics import rela_impr_auc, rela_impr_logloss

COLUMNS = (
    Column("method"),
    Column("validation AUC", "metric"),
    Column("AUC", "metric", "higher"),
    Column("logloss", "metric", "lower"),
    Column("GAUC", "metric", "higher"),
    Column("UserIP's AUC above it", "difference"),
    Column("seeds above"),
    Column("RelaImpr AUC", "change"),
    Column("RelaImpr logloss", "change"),
    Column("seconds a fit", "seconds"),
)


def against_recommenders(judge: Judge) -> list[Section]:
    """The best baseline is chosen by validation AUC, of all recommenders without codes and all LLM-based rows."""
    without, language = _without_codes(judge), _language(judge)
    best = judge.best([*without, *language])
    title = "Against other recommenders"
    question = "Is UserIP better than the best of other recommenders and other uses of a language model?"
    if best is None or not judge.lines("recommenders") + language:
        return []
    mine = ours(judge)
    table = _table(judge, without, language, mine, best)
    if mine is None:
        return [Section(title, question, NOTHING_OF_OURS, "undecided", (table,))]
    found = judge.difference(mine, best)
    model, base = judge.measures(mine), judge.measures(best)
    answer = (
        f"In AUC, {full_name(mine)}, is {above_below(found)} {_name(best)}, the best baseline by validation "
        f"{say_gain(found)}; RelaImpr {write_number(rela_impr_auc(model['auc'], base['auc']) / 100, 'change')} of AUC, "
        f"{write_number(rela_impr_logloss(model['logloss'], base['logloss']) / 100, 'change')} of logloss."
    )
    return [Section(title, question, answer, verdict_of([found]), (table,))]


def _without_codes(judge: Judge) -> list[Line]:
    """Recommenders of their own; the DCN of the controls where that table has none."""
    lines = judge.lines("recommenders", "none")
    dcn = judge.line("controls", "none", "dcn")
    known = {line.recommender for line in lines}
    return lines + ([dcn] if dcn and "dcn" not in known else [])


def _language(judge: Judge) -> list[Line]:
    return [line for line in judge.lines("llm") if not line.method.startswith("userip")]


def _table(judge: Judge, without: list[Line], language: list[Line], mine: Line | None, best: Line) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for heading, lines in (("recommenders", without), ("with a language model", language)):
        rows += [(heading,)] if lines else []
        rows += [_row(judge, line, mine, best) for line in lines]
    tinted = []
    if mine is not None:
        constant = judge.line("controls", BASE, mine.recommender)
        rows += [("codes",)] + ([_row(judge, constant, mine, best)] if constant else [])
        tinted = [len(rows)]
        rows.append(_row(judge, mine, mine, best))
    rows += not_done_rows(judge.results, ("recommenders", "llm"), len(COLUMNS))
    note = (
        "RelaImpr (Eq. 10, 11) is UserIP's over that row; it takes 0.5 off both AUCs, which makes small gains near 0.5 "
        "look large, so the plain difference stands beside it. Rows of one seed stand against all seeds of UserIP."
    )
    return Table("Recommenders and uses of a language model", COLUMNS, tuple(rows), note, tuple(tinted))


def _row(judge: Judge, line: Line, mine: Line | None, best: Line) -> tuple[Cell, ...]:
    figures = judge.measures(line)
    name = _name(line) + (" (best by validation)" if line is best else "")
    against: tuple[Cell, ...] = (None, None, None, None)
    if mine is not None and line is not mine:
        found, model = judge.difference(mine, line), judge.measures(mine)
        against = (
            estimate(found),
            sign_count(found),
            rela_impr_auc(model["auc"], figures["auc"]) / 100,
            rela_impr_logloss(model["logloss"], figures["logloss"]) / 100,
        )
    measured = (figures["auc"], figures["logloss"], figures["gauc"])
    return (name, judge.valid_auc(line), *measured, *against, line.seconds)


def _name(line: Line) -> str:
    if line.method == "none":
        return recommender_name(line.recommender)
    return full_name(line) if line.section == "controls" else method_name(line.method)
