"""Against other recommenders and other uses of a language model (paper, Table 2), and transfer to them (Table 4)."""

from collections.abc import Callable

from userip.evaluation.results import BASE
from userip.evaluation.sections.claims import NOTHING_OF_OURS, claim, forest
from userip.evaluation.sections.comparisons import Comparisons, Row
from userip.evaluation.sections.names import full_name, method_name, recommender_name
from userip.evaluation.sections.tables import Group, figures_table, not_done
from userip.evaluation.sections.users import ours
from userip.reporting.blocks import Block, Column, Section
from userip.training.recommender.metrics import rela_impr_auc, rela_impr_logloss


def against_recommenders(compare: Comparisons) -> list[Section]:
    """The best baseline is chosen by validation AUC, of all recommenders without codes and all LLM-based rows."""
    without = compare.rows("recommenders", "none")
    language = [row for row in compare.rows("llm") if row.method != compare.results.method]
    if not without + language:
        return []
    dcn = compare.row("controls", "none", "dcn")
    without += [dcn] if dcn and "dcn" not in {row.recommender for row in without} else []
    best, mine = compare.best([*without, *language]), ours(compare)
    constant = compare.row("controls", BASE, mine.recommender) if mine else None
    groups = {"recommenders": without, "with a language model": language, "codes": [r for r in (constant, mine) if r]}
    named = [
        Group(heading, [(_name(row) + " (best by validation)" * (row is best), row) for row in rows], mine)
        for heading, rows in groups.items()
    ]
    note = "RelaImpr (paper, Eq. 10 and 11): of the method over that row. Rows of one seed stand against all seeds."
    title = "Recommenders and uses of a language model"
    more = _rela_impr(compare, mine) if mine else []
    table = figures_table(compare, title, named, ("recommenders", "llm"), "the method", note, more)
    title, question = "Against other recommenders", "Is the method better than the best baseline by validation?"
    if mine is None or best is None:
        return [Section(title, question, NOTHING_OF_OURS, "undecided", (table,))]
    return [claim(title, question, full_name(mine), [(_name(best), compare.difference(mine, best))], (table,))]


def codes_transfer(compare: Comparisons) -> list[Section]:
    """The codes against constant codes in every recommender of the plan."""
    method = compare.results.method
    pairs = [
        (mine, other)
        for mine in compare.rows("transfer", method)
        if (other := compare.row("transfer", BASE, mine.recommender))
    ]
    if not pairs and not not_done(compare.results, "transfer"):
        return []
    name = method_name(method)
    found = [(recommender_name(mine.recommender), compare.difference(mine, other)) for mine, other in pairs]
    groups = [
        Group(who, [("constant codes", other), (name, mine)], other)
        for (who, _), (mine, other) in zip(found, pairs, strict=True)
    ]
    blocks: list[Block] = []
    if found:
        axis = f"AUC with {name} minus AUC with constant codes"
        blocks.append(forest(f"What {name} gain in other recommenders", axis, found))
    title = "Codes that were trained with a DCN, in other recommenders"
    blocks.append(figures_table(compare, title, groups, ("transfer",), "constant codes"))
    against = [(f"constant codes in {who}", one) for who, one in found]
    question = "Do codes trained with a DCN help other recommenders too?"
    return [claim("Transfer to other recommenders", question, name, against, blocks)]


def _rela_impr(compare: Comparisons, mine: Row) -> list[tuple[Column, Callable[[Row], float | None]]]:
    """The paper's relative improvements of the method over a row, as fractions."""
    model = compare.measures(mine)

    def of(name: str, measure: Callable[[float, float], float]) -> Callable[[Row], float | None]:
        return lambda row: None if row is mine else measure(model[name], compare.measures(row)[name]) / 100

    return [
        (Column("RelaImpr AUC", "change"), of("auc", rela_impr_auc)),
        (Column("RelaImpr logloss", "change"), of("logloss", rela_impr_logloss)),
    ]


def _name(row: Row) -> str:
    if row.method == "none":
        return recommender_name(row.recommender)
    return full_name(row) if row.section == "controls" else method_name(row.method)
