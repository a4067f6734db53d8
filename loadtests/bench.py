"""The load tests of `userip bench`: every scenario on every variant in turns, kept, judged and reported.

OUT/latency.json, report.md, report.html   what came out, after every scenario
OUT/gates.json                             what had to be reached
OUT/scenarios/                             finished scenarios; the same command goes on after them
OUT/variants/, OUT/servers/                releases; requests and logs of the servers
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from userip.files import json_text, write_text
from userip.loadtests.bench_run import BenchRun, Subject
from userip.loadtests.errors import BenchInputError, WrongAnswerError
from userip.loadtests.gates import Gate, judge
from userip.loadtests.results import Results, Row
from userip.loadtests.scenarios import OURS, PRESETS, Preset, Scenario, choose
from userip.loadtests.servers.machine import machine_facts
from userip.loadtests.traffic.drivers import missing
from userip.loadtests.traffic.workload import Population, population_of_dataset, population_of_release
from userip.training.data.dataset import INFO
from userip.training.progress import track

IN_PROCESS = "in-process"

Builder = Callable[[Path | None, Path, Sequence[str], int], Mapping[str, Subject]]
# What is measured without HTTP: takes the releases, the URL of an empty Redis database and the preset.
Extra = Callable[[Mapping[str, Path], str, Preset], Sequence[Row]]


@dataclass(frozen=True)
class BenchConfig:
    """What to measure, and where to write. Without a data set the shop is synthetic."""

    out: Path
    preset: Preset = "quick"
    dataset: Path | None = None
    only: tuple[str, ...] = ()
    seed: int = 0


class Slot(NamedTuple):
    """One window; with the `last` one its scenario is finished."""

    scenario: Scenario
    repeat: int
    variant: str
    last: bool


def run_bench(
    config: BenchConfig, build: Builder, extras: Mapping[str, Extra], *, say: Callable[[str], None] = print
) -> list[Gate]:
    """Measure what is not finished yet, then the `extras` by name, write the reports, and give the gates.

    Raises BenchInputError for bad input, LoadTestError for a server or generator that fails, and
    WrongAnswerError, with everything written, when answers were wrong.
    """
    loads = tuple(name for name in config.only if name not in extras)
    scenarios = choose(config.preset, loads) if loads or not config.only else ()
    results = _open_results(config)
    left_out = {scenario.name: why for scenario in scenarios if (why := missing(scenario.generator))}
    for name, why in left_out.items():
        say(f"{name}: left out: {why}")
    pending = [one for one in scenarios if one.name not in left_out and results.kept(one) is None]
    wanted = [name for name in extras if not config.only or name in config.only]
    extra = [name for name in wanted if results.kept(name) is None]
    notes = [f"{name} is left out: {why}" for name, why in left_out.items()]
    if pending or extra:
        say("building and publishing the releases")
        variants = build(config.dataset, config.out / "variants", OURS, config.seed)
        with BenchRun(config.out / "servers", variants, _population(config, variants), config.seed) as bench_run:
            bench_run.publish()
            _measure_all(pending, bench_run, results, lambda: _write(config, results, notes, tuple(extras)), say)
            releases = {name: variant.release for name, variant in variants.items()}
            for name in extra:
                say(f"{name}: no HTTP")
                results.keep(
                    name, extras[name](releases, f"{bench_run.servers.redis.url}/{len(variants)}", config.preset)
                )
    rows, gates = _write(config, results, notes, tuple(extras))
    for gate in gates:
        say(gate.summary())
    wrong = sorted({f"{row['scenario']} {row['variant']}" for row in rows if row.get("wrong")})
    if wrong:
        raise WrongAnswerError(f"wrong answers under load, see {config.out / 'gates.json'}: {', '.join(wrong)}")
    return gates


def _measure_all(
    scenarios: Sequence[Scenario],
    bench_run: BenchRun,
    results: Results,
    write: Callable[[], object],
    say: Callable[[str], None],
) -> None:
    rows: list[Row] = []
    for slot in track(list(_slots(scenarios)), label="bench"):
        rate = results.rate(slot.scenario, slot.variant)
        rows.append(bench_run.measure(slot.scenario, slot.variant, slot.repeat, rate))
        if slot.last:
            results.keep(slot.scenario, rows)
            for line in _lines(slot.scenario, rows):
                say(line)
            write()
            rows = []


def _slots(scenarios: Sequence[Scenario]) -> Iterator[Slot]:
    """A B C A B C: what a noisy machine does falls on all variants of a repeat alike."""
    for scenario in scenarios:
        turns = [(repeat, variant) for repeat in range(scenario.repeats) for variant in scenario.variants]
        for number, (repeat, variant) in enumerate(turns, start=1):
            yield Slot(scenario, repeat, variant, number == len(turns))


def _open_results(config: BenchConfig) -> Results:
    try:
        data = hashlib.sha256((config.dataset / INFO).read_bytes()).hexdigest() if config.dataset else "synthetic"
        return Results(config.out / "scenarios", {"seed": config.seed, "data": data, "preset": config.preset})
    except FileNotFoundError:
        raise BenchInputError(f"--dataset {config.dataset}: no {INFO} in it; `userip prepare` writes one") from None
    except (FileExistsError, NotADirectoryError):
        raise BenchInputError(f"--out {config.out}: not a directory; name another place") from None


def _population(config: BenchConfig, variants: Mapping[str, Subject]) -> Population:
    if config.dataset:
        return population_of_dataset(config.dataset)
    return population_of_release(next(iter(variants.values())).release, config.seed)


def _write(
    config: BenchConfig, results: Results, notes: Sequence[str], extras: Sequence[str]
) -> tuple[list[Row], list[Gate]]:
    """Write rows, gates and report of everything that is finished."""
    from userip.loadtests.report import write_report

    names: list[Scenario | str] = [*PRESETS[config.preset], *extras]
    rows = [row for name in names for row in results.kept(name) or ()]
    gates = judge(rows)
    write_report(config.out, rows, gates, machine_facts(config.seed), notes)
    write_text(config.out / "gates.json", json_text([gate._asdict() for gate in gates]))
    return rows, gates


def _lines(scenario: Scenario, rows: Sequence[Row]) -> Iterator[str]:
    """The medians of a scenario, a line per variant."""
    load = "closed loop" if scenario.closed else "open loop"
    size = f", {scenario.instances:,} instances a request" if scenario.instances else ""
    what = f"{scenario.route}{size}, cache {scenario.cache}"
    yield f"{scenario.name}: {load}, {what}, {scenario.workers} worker{'s' * (scenario.workers > 1)}"
    for variant in scenario.variants:
        own = [row for row in rows if row["variant"] == variant]
        p50, p99 = (_median(own, name) for name in ("p50_ms", "p99_ms"))
        wrong = sum(row["wrong"] for row in own)
        bad = f"   {_failures(own) or '0 failed'}, {wrong} wrong" if wrong or _failures(own) else ""
        yield f"  {variant:<14}{_median(own, 'throughput'):>9} req/s   p50 {p50:>8} ms   p99 {p99:>8} ms{bad}"


def _failures(rows: Sequence[Row]) -> str:
    """How many requests failed, and the kind that most did; empty for none."""
    failed = sum(row["failed"] for row in rows)
    kinds: Counter[str] = Counter()
    for row in rows:
        kinds.update(row.get("failures", {}))
    return f"{failed:,} failed ({kinds.most_common(1)[0][0] if kinds else 'not said why'})" if failed else ""


def _median(rows: Sequence[Row], name: str) -> str:
    values = [row[name] for row in rows if row[name] is not None]
    return f"{median(values):,.{0 if name == 'throughput' else 2}f}" if values else "-"
