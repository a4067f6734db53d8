"""How all of it was measured: what was fitted on what, how the intervals are made, what was not done, the cost."""

from collections.abc import Mapping
from math import isnan
from typing import Any, Final

from userip.evaluation.results import Results
from userip.evaluation.sections.judge import Judge
from userip.evaluation.sections.wording import full_name, listed, method_name, recommender_name
from userip.reporting.blocks import Block, Cell, Column, Section, Table, Text

_SPLITS: Final = {
    "random": "Rows were split at random, as the paper does: a profile may know of later rows than the test rows.",
    "temporal": "Rows were split by time: train rows are older than the test rows.",
    "users": (
        "Whole users were held out. Their history rows made their profiles, by fold-in with everything frozen; no "
        "method but `retrained` was fitted on a row of theirs. Their other rows are the test."
    ),
}
_FITTED: Final = (
    "Language model, profiles, codebooks, statistics and recommenders were fitted on train rows alone. Codes are "
    "cross-fitted where the configuration says so: a train row meets codes made without it.",
    "Every recommender had the same search and the same early stopping on the validation rows, with seed 0; DeepFM was "
    "also searched without its MLP, PEPLER- and ReLLa-style keep settings of their own. What validation chose was then "
    "fitted with every seed. The best baseline and the better statistics codes were chosen by validation too. Test "
    "labels were read once, after the last prediction.",
)
_INTERVALS: Final = (
    "Differences are paired: the same test rows and the same seed on both sides. Intervals are 95 % percentiles of "
    "draws with replacement of whole users and, independently, of seeds, the same draws for every method. With one "
    "seed only users are drawn, so the interval says nothing of the next seed.",
    "Yes: the interval excludes zero on the side of the claim. No: it excludes zero on the other side, or a stated "
    "goal is missed. Undecided: anything else. Verdicts are not corrected for the number of questions.",
)


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """What was measured on what, for the head of the report."""
    test = results.test
    found = [("data set", results.dataset), ("split", results.split), ("preset", results.preset)]
    found.append(("seeds", str(results.seeds)))
    found += [
        (name, f"{results.counts[name]:,}") for name in ("users", "items", "interactions") if name in results.counts
    ]
    found.append(("test rows", f"{test.height:,} of {test['user_id'].n_unique():,} users"))
    if test.height:
        found.append(("test rows liked", f"{100 * float(test['label'].to_numpy().mean()):.1f} %"))
    if results.positive_above is not None:
        found.append(("liked means", f"rating above {results.positive_above:g}"))
    if results.split_hash:
        found.append(("split hash", results.split_hash[:16]))
    if "userip" in results.versions:
        found.append(("version", results.versions["userip"]))
    return tuple(found)


def protocol(judge: Judge) -> list[Section]:
    """No question: what a reader needs who trusts nobody."""
    results = judge.results
    blocks: list[Block] = [
        Text((_SPLITS[results.split], *_FITTED), "What was fitted on what"),
        Text(
            (
                *_INTERVALS,
                f"Seeds: {results.seeds}; of ablations and sweeps fewer, as their tables say.{_shared(results)}",
            ),
            "Intervals",
        ),
    ]
    blocks += [one for one in (_not_done(results), _sanity(judge), _searched(judge), _cost(results)) if one]
    blocks.append(_facts(results))
    wrong = sum(not one.skipped for one in results.failures)
    skipped = len(results.failures) - wrong
    answer = f"{wrong} parts failed and {skipped} were skipped; both are listed below." if results.failures else ""
    return [Section("Protocol", answer=answer, blocks=tuple(blocks))]


def _shared(results: Results) -> str:
    """What has to be said where several seeds take the same profiles."""
    if not 0 < results.inferred < results.seeds:
        return ""
    return (
        f" Profiles were inferred with {results.inferred} of them, which the others take in turn; intervals count all "
        "seeds as independent, so those of UserIP codes come out too narrow."
    )


def _not_done(results: Results) -> Table | None:
    rows = tuple((one.what, "skipped" if one.skipped else "failed", one.reason) for one in results.failures)
    return Table("What was not done", (Column("part"), Column("what"), Column("why")), rows) if rows else None


def _sanity(judge: Judge) -> Table | None:
    """What must hold if all is well: the constant rate ranks nothing, and no method is worse than it in logloss."""
    rate = judge.line("controls", "constant-rate", "")
    if rate is None:
        return None
    base = judge.measures(rate)
    rest = [line for line in judge.lines("controls") if line.key != rate.key]
    worse = [full_name(line) for line in rest if judge.measures(line)["logloss"] > base["logloss"]]
    seeds = sum(len(line.seeds) < judge.results.seeds for line in rest)
    rows: list[tuple[Cell, ...]] = [
        (
            "AUC of the constant rate is one half",
            "no AUC: all test rows are of one label" if isnan(base["auc"]) else f"{base['auc']:.4f}",
            _holds(abs(base["auc"] - 0.5) < 1e-9),
        ),
        (
            "ECE of the constant rate: how far train and test rows differ in their share of likes",
            f"{base['ece']:.4f}",
            "",
        ),
        (
            f"logloss of every control is under that of the constant rate, {base['logloss']:.4f}",
            listed(worse) + " not" if worse else "all",
            _holds(not worse),
        ),
        ("controls that have all seeds", f"{len(rest) - seeds} of {len(rest)}", _holds(not seeds)),
    ]
    five = judge.results.seeds >= 5
    rows.append(("five seeds or more", str(judge.results.seeds), _holds(five)))
    for facet in dict.fromkeys(book.facet for book in judge.results.codebooks):
        bad = [str(book.seed) for book in judge.results.codebooks if book.facet == facet and book.collapsed]
        rows.append((f"no seed's codebook of {facet} has collapsed", listed(bad) or "none has", _holds(not bad)))
    return Table("Sanity", (Column("what must hold"), Column("found"), Column("holds")), tuple(rows))


def _holds(holds: bool) -> str:
    return "yes" if holds else "no"


def _searched(judge: Judge) -> Table | None:
    """What the search chose for every line, once."""
    rows: list[tuple[Cell, ...]] = []
    for section in ("controls", "recommenders", "llm", "transfer"):
        lines = judge.lines(section)
        rows += [(section,)] if lines else []
        for line in lines:
            chosen = ", ".join(f"{name} {_plain(value)}" for name, value in line.scored[0].settings.items())
            recommender = recommender_name(line.recommender) if line.recommender else ""
            seeds = float(len(line.seeds))
            rows.append((method_name(line.method), recommender, chosen, seeds, judge.valid_auc(line), line.seconds))
    if not rows:
        return None
    grid = "; ".join(
        f"{name}: {', '.join(_plain(one) for one in values)}" for name, values in judge.results.grid.items()
    )
    columns = (
        Column("method"), Column("recommender"), Column("chosen by validation"), Column("seeds", "count"),
        Column("validation AUC", "metric"), Column("a fit", "seconds"),
    )  # fmt: skip
    return Table("The search", columns, tuple(rows), f"Searched beside the defaults: {grid}." if grid else "")


def _cost(results: Results) -> Table | None:
    rows: list[tuple[Cell, ...]] = [(one.what, one.seconds, one.peak_memory_mb) for one in results.timings]
    if not rows:
        return None
    columns = (Column("part"), Column("time", "seconds"), Column("peak memory so far, MB", "count"))
    note = "In this run or in the one that left its result; steps that several runs share stand with each of them."
    return Table("Time and memory", columns, tuple(rows), note)


def _facts(results: Results) -> Table:
    rows = [("split hash", results.split_hash or "not known")]
    rows += [(f"count: {name.replace('_', ' ')}", f"{value:,}") for name, value in results.counts.items()]
    rows += [(f"version: {name}", value) for name, value in results.versions.items()]
    rows += [(f"setting: {name}", value) for name, value in _flat(results.settings)]
    return Table("Data, versions and settings", (Column("what"), Column("value")), tuple(rows))


def _flat(settings: Mapping[str, Any], over: str = "") -> list[tuple[str, str]]:
    found = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{over}{name}.")
        else:
            found.append((f"{over}{name}", _plain(value)))
    return found


def _plain(value: Any) -> str:  # noqa: ANN401  (whatever a configuration holds)
    if isinstance(value, list | tuple):
        return ", ".join(_plain(one) for one in value) or "none"
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name} {_plain(one)}" for name, one in value.items()) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)
