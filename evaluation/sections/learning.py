"""How many interactions a user never seen needs before a profile pays."""

from userip.evaluation.intervals import Difference, Figures
from userip.evaluation.results import LearningCurve
from userip.evaluation.sections.judge import Judge
from userip.evaluation.sections.wording import OURS, above_below, estimate, method_name, say, say_gain, verdict_of
from userip.reporting.blocks import Block, Cell, Column, Lines, Reference, Section, Series, Table

REFERENCES = {"none": "unknown-user row", "retrained": "retrained"}


def learning_curve(judge: Judge) -> list[Section]:
    """UserIP after the first 1, 2, 4, .. history rows, against the unknown-user row and against retraining."""
    curve = judge.results.curve
    if curve is None or OURS not in curve.predictions or "none" not in curve.references:
        return []
    draws = judge.bootstrap
    seeds = _seeds(curve)
    unknown = draws.figures(curve.references["none"][:seeds])
    figures = {
        method: {items: draws.figures(cuts[items][:seeds]) for items in curve.items if items in cuts}
        for method, cuts in curve.predictions.items()
    }
    cuts = sorted(figures[OURS])
    if not cuts:
        return []
    gains = {items: draws.difference(figures[OURS][items], unknown) for items in cuts}
    first, last = cuts[0], cuts[-1]
    rows = "row" if first == 1 else "rows"
    answer = (
        f"After {first} history {rows} UserIP is {above_below(gains[first])} the unknown-user row in AUC "
        f"{say_gain(gains[first])}"
    )
    if last != first:
        answer += f"; after {last} the difference is {say(gains[last])}"
        if "retrained" in curve.references:
            share = draws.recovered(figures[OURS][last], unknown, draws.figures(curve.references["retrained"][:seeds]))
            answer += f", which is {say(share, 'percent')} of the way to retraining"
    sure = next((items for items in cuts if all(gains[more].low > 0 for more in cuts if more >= items)), None)
    if sure is not None and sure != first:
        answer += f". The gain is sure from {sure} rows on"
    question = f"Does a profile help from a user's first {'interaction' if first == 1 else f'{first} interactions'} on?"
    verdict = verdict_of([gains[first]])
    blocks: tuple[Block, ...] = (
        _plain(judge, figures),
        _gained(judge, figures, unknown),
        _table(judge, figures, gains),
    )
    return [Section("How much history it takes", question, f"{answer}.", verdict, blocks)]


def _seeds(curve: LearningCurve) -> int:
    """Seeds that all lines have; a line of one seed stands against all."""
    lines = [*curve.references.values(), *(one for cuts in curve.predictions.values() for one in cuts.values())]
    return min((len(one) for one in lines if len(one) > 1), default=1)


def _plain(judge: Judge, figures: dict[str, dict[int, Figures]]) -> Lines:
    curve = judge.results.curve
    references = curve.references if curve else {}
    return Lines(
        "AUC by length of the history", "history rows (at most)", "AUC",
        tuple(
            Series(method_name(name), list(cuts), [float(one.whole.mean()) for one in cuts.values()])
            for name, cuts in figures.items()
        ),
        log_x=True,
        references=tuple(
            Reference(REFERENCES.get(name, name), float(judge.bootstrap.figures(references[name]).whole.mean()))
            for name in references
        ),
        note="The recommender has no user field and is not fitted again; every history is cut to its first rows.",
    )  # fmt: skip


def _gained(judge: Judge, figures: dict[str, dict[int, Figures]], unknown: Figures) -> Lines:
    series = []
    for name, cuts in figures.items():
        found = [judge.bootstrap.difference(one, unknown) for one in cuts.values()]
        parts = ([getattr(one, part) for one in found] for part in ("mean", "low", "high"))
        series.append(Series(method_name(name), list(cuts), *parts))
    return Lines(
        "Gain over the unknown-user row", "history rows (at most)", "difference of AUC", tuple(series), log_x=True,
        references=(Reference("unknown-user row", 0.0),), kind="difference", note="Bands are 95 % intervals.",
    )  # fmt: skip


def _table(judge: Judge, figures: dict[str, dict[int, Figures]], gains: dict[int, Difference]) -> Table:
    others = [name for name in figures if name != OURS]
    columns = [Column("history rows", "count"), Column("AUC, UserIP codes", "metric")]
    columns.append(Column("above the unknown-user row", "difference"))
    columns += [Column(f"above {method_name(name)}", "difference") for name in others]
    rows: list[tuple[Cell, ...]] = []
    for items, gain in gains.items():
        mine = figures[OURS][items]
        row: list[Cell] = [float(items), float(mine.whole.mean()), estimate(gain)]
        for name in others:
            other = figures[name].get(items)
            row.append(estimate(judge.bootstrap.difference(mine, other)) if other else None)
        rows.append(tuple(row))
    return Table("Gains by length of the history", tuple(columns), tuple(rows))
