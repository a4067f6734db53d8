"""What each part of the method is worth (paper, Table 3), and how large codebooks should be (Figures 5 and 6)."""

import re
from typing import Final

from userip.evaluation.intervals import Difference
from userip.evaluation.plan import AS_CONFIGURED
from userip.evaluation.results import Section as Place
from userip.evaluation.sections.claims import forest, listed, say, verdict_of
from userip.evaluation.sections.comparisons import Comparisons, Row
from userip.evaluation.sections.names import method_name, recommender_name
from userip.evaluation.sections.tables import Group, figures_table, not_done
from userip.reporting.blocks import Block, Lines, Section, Series, Table

DEFAULTS: Final = ("", AS_CONFIGURED)
WITHOUT: Final = "without "
SMALL: Final = 4  # the paper's larger codebook
_SETTING: Final = re.compile(r"^(?P<name>.+)=(?P<value>\d+(\.\d+)?)$")
SWEPT: Final = {"size": "codes per facet", "soft_tokens": "soft tokens per facet", "facets": "facets"}


def ablations(compare: Comparisons) -> list[Section]:
    """Every variant against the method as configured."""
    rows = [row for row in compare.rows("ablations") if row.variant not in DEFAULTS]
    if not rows and not not_done(compare.results, "ablations"):
        return []
    found = [(row.variant, compare.difference(row, base)) for row in rows if (base := default_of(compare, row))]
    costs = [(name, one) for name, one in found if name.startswith(WITHOUT)]
    paid = [f"{name} {say(one)}" for name, one in costs if one.high < 0]
    answer = f"{len(paid)} of {len(costs)} parts clearly cost AUC when left out{': ' * bool(paid)}{listed(paid)}."
    plot = (forest("Variants against the method as configured", "difference of AUC", found),) if found else ()
    title, question = "What each part is worth", "Does every part that can be left out earn its place?"
    verdict = verdict_of([_turned(one) for _, one in costs])
    return [Section(title, question, answer, verdict, (*plot, _table(compare, rows, "ablations", "Variants")))]


def sweeps(compare: Comparisons) -> list[Section]:
    """Figures against the values of a setting; the claim is that small codebooks are best."""
    rows = [row for row in compare.rows("sweep") if row.variant not in DEFAULTS]
    if not rows and not not_done(compare.results, "sweep"):
        return []
    settings: dict[str, dict[float, Row]] = {}
    for row in rows:
        if parts := _SETTING.match(row.variant):
            settings.setdefault(parts["name"], {})[float(parts["value"])] = row
    blocks: list[Block] = []
    summary, compared = [], []
    for name, values in settings.items():
        blocks.append(_curve(compare, name, dict(sorted(values.items()))))
        small = compare.best([row for value, row in values.items() if value <= SMALL])
        large = compare.best([row for value, row in values.items() if value > SMALL])
        # What is not a number of tokens or facets is a size of codebooks, of all facets or of one.
        if name not in ("soft_tokens", "facets") and small and large:
            compared.append(compare.difference(small, large))
            summary.append(f"{small.variant} against {large.variant} {say(compared[-1])}")
    answer = f"AUC of the best small and the best larger codebook by validation: {listed(summary)}."
    blocks.append(_table(compare, rows, "sweep", "All settings"))
    title, question = "Codebook sizes and other settings", f"Are small codebooks, of {SMALL} codes or fewer, best?"
    answer = answer if summary else "There are no small and larger codebooks to compare."
    return [Section(title, question, answer, verdict_of(compared), tuple(blocks))]


def default_of(compare: Comparisons, row: Row) -> Row | None:
    """The method as configured, with the same recommender: of the section's own runs, else that of the controls."""
    places: tuple[Place, ...] = (row.section, "ablations", "controls")
    for place in places:
        for variant in DEFAULTS:
            if found := compare.row(place, compare.results.method, row.recommender, variant):
                return found
    return None


def _turned(one: Difference) -> Difference:
    return Difference(-one.mean, -one.high, -one.low, tuple(-value for value in one.per_seed))


def _curve(compare: Comparisons, name: str, values: dict[float, Row]) -> Lines:
    """Differences to the method as configured, which are paired; without it, plain AUC."""
    label, method = SWEPT.get(name, f"codes of {name}"), method_name(compare.results.method)
    x = list(values)
    log_x = min(x) > 0 and max(x) >= 4 * min(x)
    bases = [default_of(compare, row) for row in values.values()]
    found = [compare.difference(row, base) for row, base in zip(values.values(), bases, strict=True) if base]
    if len(found) < len(values):
        auc = [compare.measures(row)["auc"] for row in values.values()]
        return Lines(f"AUC by {label}", label, "AUC", (Series(method, x, auc),), log_x)
    series = Series(method, x, *([getattr(one, part) for one in found] for part in ("mean", "low", "high")))
    note = "Zero is the method as configured; the band is the 95 % interval of the paired difference."
    return Lines(f"AUC by {label}", label, "difference of AUC", (series,), log_x, kind="difference", note=note)


def _table(compare: Comparisons, rows: list[Row], place: Place, title: str) -> Table:
    base = default_of(compare, rows[0]) if rows else None
    named = [(row.variant or AS_CONFIGURED, row) for row in [*([base] if base else []), *rows]]
    where = f"{recommender_name(base.recommender)}. " if base else ""
    note = f"{where}Seeds are of the recommender; a variant's profiles were made once."
    return figures_table(compare, title, [Group("", named, base)], (place,), AS_CONFIGURED, note)
