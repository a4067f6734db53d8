"""The table of methods that most sections rest on, and the lines of it that did not come out."""

from collections.abc import Sequence
from dataclasses import dataclass

from userip.evaluation.plan import ABLATIONS, SWEEPS
from userip.evaluation.results import Results, Section
from userip.evaluation.sections.judge import Judge, Line
from userip.evaluation.sections.wording import OURS, estimate, method_name, recommender_name, sign_count
from userip.reporting.blocks import Cell, Column, Estimate, Table

MEASURES = (
    Column("AUC", "metric", "higher"),
    Column("logloss", "metric", "lower"),
    Column("GAUC", "metric", "higher"),
    Column("ECE", "metric", "lower"),
)


@dataclass(frozen=True)
class Group:
    """Lines under one heading; `base` is what their differences are taken to, None for no differences."""

    heading: str
    lines: Sequence[tuple[str, Line]]
    base: Line | None = None


def methods_table(judge: Judge, title: str, groups: Sequence[Group], section: Section, base: str, note: str) -> Table:
    """Figures of every line, its difference of AUC to the group's base, and in how many seeds that is above zero.

    Lines of `section` that did not come out stand below, as failed or skipped.
    """
    columns = (Column("method"), *MEASURES, Column(f"AUC above {base}", "difference", "higher"), Column("seeds above"))
    rows: list[tuple[Cell, ...]] = []
    ours = []
    for group in groups:
        if group.lines and group.heading:
            rows.append((group.heading,))
        for name, line in group.lines:
            if line.method == OURS:
                ours.append(len(rows))
            figures = judge.measures(line)
            numbers = tuple(figures[name] for name in ("auc", "logloss", "gauc", "ece"))
            rows.append((name, *numbers, *_against(judge, line, group.base)))
    rows += not_done_rows(judge.results, (section,), len(columns))
    return Table(title, columns, tuple(rows), note, tuple(ours))


def not_done_rows(results: Results, sections: Sequence[Section], width: int) -> list[tuple[Cell, ...]]:
    """A heading, and a row for every line of these sections that failed or was skipped, its name and that word."""
    found = [one for section in sections for one in not_done(results, section)]
    rows: list[tuple[Cell, ...]] = [("not done",)] if found else []
    return rows + [(name, word, *[None] * (width - 2)) for name, word in found]


def not_done(results: Results, section: Section) -> list[tuple[str, str]]:
    """(name, "failed" or "skipped") of the lines of a section that did not come out; why is told in the protocol."""
    found = []
    for failure in results.failures:
        place, *parts = failure.what.split(", ")
        if (place == "profiles" and parts) or not parts:  # a variant whose profiles could not be made
            variant = ", ".join(parts or [place])
            place = "ablations" if variant in ABLATIONS else "sweep" if variant in SWEEPS else ""
            parts = [variant]
        if place == section:
            found.append((_spelled(parts), "skipped" if failure.skipped else "failed"))
    return list(dict.fromkeys(found))


def _spelled(parts: Sequence[str]) -> str:
    method, *rest = parts
    return ", ".join([method_name(method), *(recommender_name(one) for one in rest)])


def _against(judge: Judge, line: Line, base: Line | None) -> tuple[Estimate | None, str | None]:
    if base is None or base.key == line.key:
        return None, None
    difference = judge.difference(line, base)
    return estimate(difference), sign_count(difference)
