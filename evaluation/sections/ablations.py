"""What each part of the method is worth (Table 3), and how large codebooks should be (Figures 5 and 6)."""

import re
from typing import Final

from userip.evaluation.intervals import Difference
from userip.evaluation.results import Section as Place
from userip.evaluation.sections.judge import Judge, Line
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
from userip.reporting.blocks import (
    Block,
    Cell,
    Column,
    IntervalRow,
    Intervals,
    Lines,
    Section,
    Series,
    Table,
)

DEFAULTS: Final = ("", "as configured")
WITHOUT: Final = "without "
SMALL: Final = 4  # the paper's larger codebook
_SETTING: Final = re.compile(r"^(?P<name>.+)=(?P<value>\d+(\.\d+)?)$")
SWEPT: Final = {"size": "codes per facet", "soft_tokens": "soft tokens per facet", "facets": "facets"}
COLUMNS: Final = (
    Column("variant"),
    Column("validation AUC", "metric"),
    Column("AUC", "metric", "higher"),
    Column("logloss", "metric", "lower"),
    Column("AUC above UserIP as configured", "difference", "higher"),
    Column("seeds above"),
)


def ablations(judge: Judge) -> list[Section]:
    """Every variant against UserIP as configured."""
    lines = [line for line in judge.lines("ablations") if line.variant not in DEFAULTS]
    if not lines and not not_done_rows(judge.results, ("ablations",), len(COLUMNS)):
        return []
    title, question = "What each part is worth", "Does every part that can be left out earn its place?"
    found = [(line, judge.difference(line, base)) for line in lines if (base := default_of(judge, line)) is not None]
    parts = [(line, one) for line, one in found if line.variant.startswith(WITHOUT)]
    if not parts:
        answer, verdict = "No part was left out that could be compared.", verdict_of([])
    else:
        costs = [f"{line.variant} {say(one)}" for line, one in parts]
        paid = sum(one.high < 0 for _, one in parts)
        answer = f"{paid} of {len(parts)} parts surely cost AUC when left out: {listed(costs)}."
        verdict = verdict_of([_turned(one) for _, one in parts])
    better = [f"{line.variant} ({say(one)})" for line, one in found if one.low > 0]
    if better:
        answer += f" Surely better than as configured: {listed(better)}."
    rows = tuple(IntervalRow(line.variant, one.mean, one.low, one.high) for line, one in found)
    forest = (Intervals("Variants against UserIP as configured", "difference of AUC", rows),) if rows else ()
    return [Section(title, question, answer, verdict, (*forest, _table(judge, lines, "ablations", "Variants")))]


def sweeps(judge: Judge) -> list[Section]:
    """Figures against the values of a setting; the claim is that small codebooks are best."""
    lines = [line for line in judge.lines("sweep") if line.variant not in DEFAULTS]
    if not lines and not not_done_rows(judge.results, ("sweep",), len(COLUMNS)):
        return []
    settings: dict[str, list[tuple[float, Line]]] = {}
    for line in lines:
        if parts := _SETTING.match(line.variant):
            settings.setdefault(parts["name"], []).append((float(parts["value"]), line))
    blocks: list[Block] = []
    compared = []
    for name, values in settings.items():
        values.sort(key=lambda pair: pair[0])
        blocks.append(_curve(judge, name, values))
        if name not in ("soft_tokens", "facets"):  # what is left are codebook sizes, of all facets or of one
            compared += _small_against_large(judge, name, values)
    said = [f"{small.variant} against {large.variant}: {say(one)} AUC" for small, large, one in compared]
    answer = (
        f"The best small codebook against the best larger one, both by validation: {listed(said)}."
        if said
        else "There are no small and larger codebooks to compare."
    )
    question = f"Are small codebooks, of {SMALL} codes or fewer, best?"
    verdict = verdict_of([one for _, _, one in compared])
    blocks.append(_table(judge, lines, "sweep", "All settings"))
    return [Section("Codebook sizes and other settings", question, answer, verdict, tuple(blocks))]


def default_of(judge: Judge, line: Line) -> Line | None:
    """UserIP as configured, with the same recommender: of the section's own runs, else that of the controls."""
    places: tuple[Place, ...] = (line.section, "ablations", "controls")
    for place in places:
        for variant in DEFAULTS:
            if found := judge.line(place, OURS, line.recommender, variant):
                return found
    return None


def _turned(one: Difference) -> Difference:
    return Difference(-one.mean, -one.high, -one.low, tuple(-value for value in one.per_seed))


def _small_against_large(
    judge: Judge, name: str, values: list[tuple[float, Line]]
) -> list[tuple[Line, Line, Difference]]:
    small = judge.best([line for value, line in values if value <= SMALL])
    large = judge.best([line for value, line in values if value > SMALL])
    return [(small, large, judge.difference(small, large))] if small and large else []


def _curve(judge: Judge, name: str, values: list[tuple[float, Line]]) -> Lines:
    """Differences to UserIP as configured, which are paired; without it, plain AUC."""
    label = SWEPT.get(name, f"codes of {name}")
    bases = [default_of(judge, line) for _, line in values]
    x = [value for value, _ in values]
    log_x = min(x) > 0 and max(x) >= 4 * min(x)
    if any(base is None for base in bases):
        auc = [judge.measures(line)["auc"] for _, line in values]
        return Lines(f"AUC by {label}", label, "AUC", (Series("UserIP", x, auc),), log_x)
    found = [judge.difference(line, base) for (_, line), base in zip(values, bases, strict=True) if base]
    series = Series("UserIP", x, *([getattr(one, part) for one in found] for part in ("mean", "low", "high")))
    note = "Zero is UserIP as configured; the band is the 95 % interval of the paired difference."
    return Lines(f"AUC by {label}", label, "difference of AUC", (series,), log_x, kind="difference", note=note)


def _table(judge: Judge, lines: list[Line], place: Place, title: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    base = default_of(judge, lines[0]) if lines else None
    for line in [*([base] if base else []), *lines]:
        figures = judge.measures(line)
        against: tuple[Cell, Cell] = (None, None)
        if base is not None and line is not base:
            found = judge.difference(line, base)
            against = (estimate(found), sign_count(found))
        name = line.variant or "as configured"
        rows.append((name, judge.valid_auc(line), figures["auc"], figures["logloss"], *against))
    ours = (0,) if base else ()
    rows += not_done_rows(judge.results, (place,), len(COLUMNS))
    where = f"{recommender_name(base.recommender)}. " if base else ""
    note = f"{where}Seeds are of the recommender; a variant's profiles were made once."
    return Table(title, COLUMNS, tuple(rows), note, ours)
