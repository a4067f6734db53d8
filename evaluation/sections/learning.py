"""How many interactions a user never seen needs before a profile pays."""

from userip.evaluation.intervals import Bootstrap, Figures
from userip.evaluation.results import LearningCurve
from userip.evaluation.sections.claims import claim
from userip.evaluation.sections.comparisons import Comparisons
from userip.evaluation.sections.names import method_name
from userip.reporting.blocks import Lines, Reference, Section, Series


def learning_curve(compare: Comparisons) -> list[Section]:
    """The method after the first 1, 2, 4, .. history rows, against the unknown-user row and against retraining."""
    curve, method = compare.results.curve, compare.results.method
    if curve is None or not curve.predictions.get(method) or "none" not in curve.references:
        return []
    draws, seeds = compare.bootstrap, _seeds(curve)
    unknown = draws.figures(curve.references["none"][:seeds])
    figures = {
        name: {items: draws.figures(cuts[items][:seeds]) for items in curve.items if items in cuts}
        for name, cuts in curve.predictions.items()
    }
    first = min(figures[method])
    gain = draws.difference(figures[method][first], unknown)
    rows = "row" if first == 1 else "rows"
    question = f"Does a profile help from a user's first {'interaction' if first == 1 else f'{first} interactions'} on?"
    subject = f"{method_name(method)} after {first} history {rows}"
    top = draws.figures(curve.references["retrained"][:seeds]) if "retrained" in curve.references else None
    plot = _gained(draws, figures, unknown, top)
    return [claim("How much history it takes", question, subject, [("the unknown-user row", gain)], (plot,))]


def _seeds(curve: LearningCurve) -> int:
    """Seeds that all lines have; a line of one seed stands against all."""
    lines = [*curve.references.values(), *(one for cuts in curve.predictions.values() for one in cuts.values())]
    return min((len(one) for one in lines if len(one) > 1), default=1)


def _gained(draws: Bootstrap, figures: dict[str, dict[int, Figures]], unknown: Figures, top: Figures | None) -> Lines:
    """Differences to the unknown-user row; retraining, where it is known, as a line above."""
    series = []
    for name, cuts in figures.items():
        found = [draws.difference(one, unknown) for one in cuts.values()]
        parts = ([getattr(one, part) for one in found] for part in ("mean", "low", "high"))
        series.append(Series(method_name(name), list(cuts), *parts))
    references = [Reference("unknown-user row", 0.0)]
    references += [Reference("retrained", draws.difference(top, unknown).mean)] if top else []
    return Lines(
        "Gain over the unknown-user row", "history rows (at most)", "difference of AUC", tuple(series), log_x=True,
        references=tuple(references), kind="difference", note="Bands are 95 % intervals.",
    )  # fmt: skip
