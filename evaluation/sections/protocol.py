"""How all of it was measured: what was not done, what must hold, what the search chose, the cost."""

from collections.abc import Mapping
from math import isnan
from typing import Any

from userip.evaluation.results import Results
from userip.evaluation.sections.claims import listed
from userip.evaluation.sections.comparisons import Comparisons
from userip.evaluation.sections.names import full_name, method_name, recommender_name
from userip.reporting.blocks import Block, Cell, Column, Section, Table


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """What was measured on what, for the head of the report."""
    test = results.test
    found = {"data set": results.dataset, "split": results.split, "preset": results.preset, "method": results.method}
    found["seeds"] = str(results.seeds)
    if 0 < results.inferred < results.seeds:
        found["seeds of profiles"] = f"{results.inferred}, which the others take in turn: intervals are too narrow"
    found |= {
        name: f"{results.counts[name]:,}" for name in ("users", "items", "interactions") if name in results.counts
    }
    found["test rows"] = f"{test.height:,} of {test['user_id'].n_unique():,} users"
    if test.height:
        found["test rows liked"] = f"{100 * float(test['label'].to_numpy().mean()):.1f} %"
    if results.positive_above is not None:
        found["liked means"] = f"rating above {results.positive_above:g}"
    if results.split_hash:
        found["split hash"] = results.split_hash[:16]
    if "userip" in results.versions:
        found["version"] = results.versions["userip"]
    return tuple(found.items())


def protocol(compare: Comparisons) -> list[Section]:
    """What a sceptical reader needs; no question. Rules are in the docs, settings in results.json."""
    results = compare.results
    tables = (_not_done(results), _sanity(compare), _searched(compare), _cost(results))
    blocks: tuple[Block, ...] = tuple(table for table in tables if table.rows)
    wrong = sum(not one.skipped for one in results.failures)
    skipped = len(results.failures) - wrong
    answer = f"{wrong} parts failed and {skipped} were skipped; both are listed below." if results.failures else ""
    return [Section("Protocol", answer=answer, blocks=blocks)]


def _not_done(results: Results) -> Table:
    rows = tuple((one.what, "skipped" if one.skipped else "failed", one.reason) for one in results.failures)
    return Table("What was not done", (Column("part"), Column("what"), Column("why")), rows)


def _sanity(compare: Comparisons) -> Table:
    """What must hold if all is well: the constant rate ranks nothing, and no method is worse than it in logloss."""
    found: list[tuple[str, str, bool]] = []
    rate, seeds = compare.row("controls", "constant-rate", ""), compare.results.seeds
    if rate is not None:
        base = compare.measures(rate)
        rest = [row for row in compare.rows("controls") if row.key != rate.key]
        worse = [full_name(row) for row in rest if compare.measures(row)["logloss"] > base["logloss"]]
        few = sum(len(row.seeds) < seeds for row in rest)
        no_auc, half = "no AUC: all test rows are of one label", abs(base["auc"] - 0.5) < 1e-9
        limit = f"logloss of every control is under that of the constant rate, {base['logloss']:.4f}"
        found = [
            ("AUC of the constant rate is one half", no_auc if isnan(base["auc"]) else f"{base['auc']:.4f}", half),
            (limit, f"{listed(worse)} not" if worse else "all", not worse),
            ("controls that have all seeds", f"{len(rest) - few} of {len(rest)}", not few),
            ("five seeds or more", str(seeds), seeds >= 5),
        ]
    for facet in dict.fromkeys(book.facet for book in compare.results.codebooks) if rate else ():
        bad = [str(book.seed) for book in compare.results.codebooks if book.facet == facet and book.collapsed]
        found.append((f"no seed's codebook of {facet} has collapsed", listed(bad) or "none has", not bad))
    columns = (Column("what must hold"), Column("found"), Column("holds"))
    return Table("Sanity", columns, tuple((what, value, "yes" if holds else "no") for what, value, holds in found))


def _searched(compare: Comparisons) -> Table:
    """What the search chose for every row, once."""
    lines: list[tuple[Cell, ...]] = []
    for section in ("controls", "recommenders", "llm", "transfer"):
        rows = compare.rows(section)
        lines += [(section,)] if rows else []
        for row in rows:
            chosen = ", ".join(f"{name} {_plain(value)}" for name, value in row.scored[0].settings.items())
            recommender = recommender_name(row.recommender) if row.recommender else ""
            seeds = float(len(row.seeds))
            lines.append((method_name(row.method), recommender, chosen, seeds, compare.valid_auc(row), row.seconds))
    searched = [f"{name}: {', '.join(map(_plain, values))}" for name, values in compare.results.grid.items()]
    columns = (
        Column("method"), Column("recommender"), Column("chosen by validation"), Column("seeds", "count"),
        Column("validation AUC", "metric"), Column("a fit", "seconds"),
    )  # fmt: skip
    note = f"Searched beside the defaults: {'; '.join(searched)}." if searched else ""
    return Table("The search", columns, tuple(lines), note)


def _cost(results: Results) -> Table:
    columns = (Column("part"), Column("time", "seconds"), Column("peak memory so far, MB", "count"))
    rows = tuple((one.what, one.seconds, one.peak_memory_mb) for one in results.timings)
    return Table("Time and memory", columns, rows)


def _plain(value: Any) -> str:  # noqa: ANN401  (whatever a configuration holds)
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name} {_plain(one)}" for name, one in value.items()) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)
