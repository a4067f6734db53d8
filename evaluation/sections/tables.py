"""The table of methods that most sections are based on, and its rows that have no results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from userip.evaluation.plan import ABLATIONS, SWEEPS
from userip.evaluation.results import Results, Section
from userip.evaluation.sections.claims import estimate, sign_count
from userip.evaluation.sections.comparisons import Comparisons, Row
from userip.evaluation.sections.names import method_name, recommender_name
from userip.reporting.blocks import Cell, Column, Table

MEASURES = {
    "auc": Column("AUC", "metric", "higher"),
    "logloss": Column("logloss", "metric", "lower"),
    "gauc": Column("GAUC", "metric", "higher"),
    "ece": Column("ECE", "metric", "lower"),
}


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
    """Figures of every row, its difference of AUC to the group's base, and in how many seeds that is above zero.

    Rows of `sections` without results are listed below, as failed or skipped. more: further columns.
    """
    columns = (
        Column("method"), Column("validation AUC", "metric"), *MEASURES.values(),
        Column(f"AUC above {base}", "difference", "higher"), Column("seeds above"), *(column for column, _ in more),
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
            against: tuple[Cell, Cell] = (None, None)
            figures = [compare.valid_auc(row), *(measures[one] for one in MEASURES)]
            if group.base is not None and group.base.key != row.key:
                difference = compare.difference(row, group.base)
                against = (estimate(difference), sign_count(difference))
            lines.append((name, *figures, *against, *(value(row) for _, value in more)))
    missing = [one for section in sections for one in not_done(compare.results, section)]
    lines += [("not done",)] if missing else []
    lines += [(name, word, *[None] * (len(columns) - 2)) for name, word in missing]
    return Table(title, columns, tuple(lines), note, tuple(tinted))


def not_done(results: Results, section: Section) -> list[tuple[str, str]]:
    """(name, "failed" or "skipped") of the rows of a section that have no results; the protocol says why."""
    found = []
    for failure in results.failures:
        place, *parts = failure.what.split(", ")
        if (place == "profiles" and parts) or not parts:  # a variant whose profiles could not be made
            variant = ", ".join(parts or [place])
            place = "ablations" if variant in ABLATIONS else "sweep" if variant in SWEEPS else ""
            parts = [variant]
        if place == section:
            method, *rest = parts
            name = method if method in {**ABLATIONS, **SWEEPS} else method_name(method)
            found.append((", ".join([name, *map(recommender_name, rest)]), "skipped" if failure.skipped else "failed"))
    return list(dict.fromkeys(found))
