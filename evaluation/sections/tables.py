"""The table of methods that most sections are based on, and its rows that have no results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from userip.evaluation.plan import ablations_of, variations_of
from userip.evaluation.results import Results, Section
from userip.evaluation.sections.claims import sign_count
from userip.evaluation.sections.comparisons import Comparisons, Row
from userip.evaluation.sections.names import method_name, recommender_name
from userip.reporting.blocks import Cell, Column, Table
from userip.training.recommender.metrics import Measure, within_users

MEASURES = {  # ranking within a user, then calibration, then over all users
    "gauc": Column("GAUC", "metric", "higher"),
    "ndcg_5": Column("NDCG@5", "metric", "higher"),
    "ndcg_10": Column("NDCG@10", "metric", "higher"),
    "logloss": Column("logloss", "metric", "lower"),
    "ece": Column("ECE", "metric", "lower"),
    "auc": Column("AUC", "metric", "higher"),
}
COMPARED: Final[tuple[Measure, ...]] = ("gauc", "ndcg_10", "auc")  # with intervals


@dataclass(frozen=True)
class Group:
    """Named rows under one heading; `base` is what their differences are taken to, None for no differences."""

    heading: str
    rows: Sequence[tuple[str, Row]]
    base: Row | None = None


def figures_table(
    compare: Comparisons,
    title: str,
    groups: Sequence[Group],
    sections: Sequence[Section],
    base: str,
    note: str = "",
    more: Sequence[tuple[Column, Callable[[Row], Cell]]] = (),
) -> Table:
    """Figures of every row, its differences to the group's base, and in how many seeds that of AUC is above zero.

    Rows of `sections` without results are listed below, as failed or skipped. more: further columns.
    """
    columns = (
        Column("method"), Column("validation AUC", "metric"), *MEASURES.values(),
        *(Column(f"{MEASURES[one].name} above {base}", "difference", "higher") for one in COMPARED),
        Column("seeds above (AUC)"), *(column for column, _ in more),
    )  # fmt: skip
    lines: list[tuple[Cell, ...]] = []
    tinted = []
    for group in groups:
        lines += [(group.heading,)] if group.rows and group.heading else []
        for name, row in group.rows:
            ours = group.base if group.base and group.base.method == compare.results.method else row
            if row is ours and row.method == compare.results.method:
                tinted.append(len(lines))
            measures = compare.measures(row)
            against: tuple[Cell, ...] = (None,) * (len(COMPARED) + 1)
            figures = [compare.valid_auc(row), *(measures[one] for one in MEASURES)]
            if group.base is not None and group.base.key != row.key:
                differences = [compare.difference(row, group.base, one) for one in COMPARED]
                against = (*differences, sign_count(differences[-1]))
            lines.append((name, *figures, *against, *(value(row) for _, value in more)))
    missing = [one for section in sections for one in not_done(compare.results, section)]
    lines += [("not done",)] if missing else []
    lines += [(name, word, *[None] * (len(columns) - 2)) for name, word in missing]
    return Table(title, columns, tuple(lines), f"{note} {_said(compare)}".strip(), tuple(tinted))


def _said(compare: Comparisons) -> str:
    """What the measures are taken over."""
    found = within_users(compare.users, compare.labels, compare.labels)
    out = f"; {found.left_out:,} with test rows of one label are left out" if found.left_out else ""
    return (
        f"GAUC and NDCG rank within a user ({len(found.user):,} users{out}). "
        "AUC over all users also rewards knowing who likes more, which orders nobody's candidates."
    )


def not_done(results: Results, section: Section) -> list[tuple[str, str]]:
    """(name, "failed" or "skipped") of the rows of a section that have no results; the protocol says why."""
    ablations, varied, found = ablations_of(results.method), variations_of(results.method), []
    for failure in results.failures:
        place, *parts = failure.what.split(", ")
        if (place == "profiles" and parts) or not parts:  # a variant whose profiles could not be made
            variant = ", ".join(parts or [place])
            place = "ablations" if variant in ablations else "sweep" if variant in varied else ""
            parts = [variant]
        if place == section:
            method, *rest = parts
            name = method if method in varied else method_name(method)
            found.append((", ".join([name, *map(recommender_name, rest)]), "skipped" if failure.skipped else "failed"))
    return list(dict.fromkeys(found))
