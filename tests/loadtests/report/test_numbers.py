"""The numbers of the report, against sums done by hand."""

import re

from tests.loadtests.report.made_up import Row, gate, load_row, process_row, scale_row
from userip.loadtests.gates import Gate
from userip.loadtests.report import build_report
from userip.loadtests.report.rows import read_rows
from userip.reporting.markdown import markdown


def report(*rows: Row, gates: tuple[Gate, ...] = ()) -> str:
    """The report as Markdown, with a plain x, dash and space."""
    plain: dict[str, str | int | None] = {"\N{NO-BREAK SPACE}": " ", "\N{MULTIPLICATION SIGN}": "x", "\N{EN DASH}": "-"}
    return markdown(build_report(read_rows(rows), gates, {}, ())).translate(str.maketrans(plain))


def cells(text: str, title: str) -> dict[str, list[str]]:
    """The rows of the table below a heading, by their first cell."""
    below = re.split(rf"^##+ {re.escape(title)}\n", text, flags=re.MULTILINE)[1]
    table = below[below.index("|") :].split("\n\n")[0]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {line[0]: line[1:] for line in lines}


def test_figures_are_medians_over_the_repeats_with_least_and_greatest() -> None:
    """Of 500, 700 and 600 requests per second: 600, from 500 to 700. Of failures the sum."""
    mine = [load_row(throughput=x, repeat=i, failed=i, p99_ms=x / 100) for i, x in enumerate((500.0, 700.0, 600.0))]
    found = cells(report(*mine, load_row("dcn")), "Closed loops")["UserIP"]
    assert found[0] == "600 [500, 700]"
    assert found[4] == "6.00 ms [5.00, 7.00]"
    assert found[-1] == "3"


def test_ratios_are_taken_within_a_repeat_before_the_median() -> None:
    """500 / 1000, 300 / 1000 and 400 / 500 are 0.5, 0.3, 0.8: median 0.50, where that of the medians is 0.40."""
    pairs = [(500.0, 1000.0), (300.0, 1000.0), (400.0, 500.0)]
    rows = [
        load_row(variant, throughput=value, repeat=repeat)
        for repeat, pair in enumerate(pairs)
        for variant, value in zip(("userip", "echo"), pair, strict=True)
    ]
    # Another generator that saw more does not come into it.
    others = [load_row(variant, generator="locust", throughput=2000.0) for variant in ("userip", "echo")]
    text = report(*rows, *others)
    assert cells(text, "Closed loops")["UserIP"][1] == "0.50x [0.30, 0.80]"
    assert "- **400** requests per second at saturation (0.50x of echo;" in text


def test_a_repeat_that_only_one_side_has_makes_no_ratio() -> None:
    """Repeat 1 of echo is missing: the ratio is that of repeat 0 alone, without an interval."""
    rows = [load_row(throughput=500.0), load_row(throughput=900.0, repeat=1), load_row("echo", throughput=1000.0)]
    assert cells(report(*rows), "Closed loops")["UserIP"][1] == "0.50x"


def test_the_papers_measure_stands_beside_the_papers_figures() -> None:
    """0.06 to 0.05 s is 1.20 times DCN, the paper's 1.21 to 0.93 is 1.30; KAR 0.3 s is 6 times, and 5 times ours."""
    seconds = {"dcn": 0.05, "userip": 0.06, "kar-online": 0.3}
    text = report(*(process_row(name, value) for name, value in seconds.items()))
    found = cells(text, "Seconds per 10,000 instances, in-process")
    assert found["UserIP"] == ["0.06", "1.20x", "1.21", "1.30x"]
    assert found["DCN"] == ["0.05", "-", "0.93", "-"]
    assert found["KAR online"] == ["0.3", "6.00x", "4.78", "5.14x"]
    assert "**5.00x** time of KAR online against UserIP (100 candidates a request; paper 3.95x)" in text


def test_other_ways_in_process_have_tables_of_their_own() -> None:
    """The warm cache's seconds do not mix with those that are compared with the paper, in whatever order they come."""
    rows = [process_row("userip", 0.02, scenario="in-process-warm"), process_row("userip", 0.06)]
    text = report(*rows)
    assert "- **0.06 s** UserIP per 10,000 instances" in text
    assert cells(text, "Seconds per 10,000 instances, in-process-warm")["UserIP"][0] == "0.02"


def test_gates_come_first_and_say_which_are_missed() -> None:
    """One met, one missed, one not measured: the verdict is no, and every one has its row."""
    gates = (gate("first"), gate("second", ok=False, value=1.2), gate("third", ok=None, value=None))
    text = report(load_row(wrong=0, verified=7, requests=1500), gates=gates)
    assert "**No** 1 of 3 gates are met; of 1,500 answers 7 were verified, 0 were wrong" in text
    assert re.findall(r"^## (.*)", text, re.MULTILINE)[0] == "Gates"
    found = cells(text, "Gates")
    assert found["first"] == ["✓ ok", "1.04", r"\<= 1.10", "median of 3 repeats"]
    assert found["second"][:2] == ["✗ missed", "1.2"]
    assert found["third"][:2] == ["? not measured", "-"]


def test_a_wrong_answer_outweighs_gates_that_are_met() -> None:
    """The verdict is no, and the place is named."""
    text = report(load_row(wrong=2), gates=(gate(),))
    assert "**No** 1 of 1 gates are met; of 2,000 answers 100 were verified, 2 were wrong" in text
    assert cells(text, "Cells to read with care")["score-100, UserIP"][0] == "wrong answers"


def test_latency_at_one_rate_is_compared_with_dcn() -> None:
    """p99 of 9 ms against 6 ms is 1.5 times; the tile says so as well."""
    fixed: Row = {"rate": 200.0, "scenario": "at-200"}
    text = report(load_row(p99_ms=9.0, p50_ms=3.0, **fixed), load_row("dcn", p99_ms=6.0, **fixed))
    assert cells(text, "Variants at the same rate")["UserIP"][2:4] == ["9.00 ms", "1.50x"]
    assert "**9.00 ms** 99th percentile at 200 requests/s (1.50x of DCN; median 3.00 ms)" in text


def test_a_distribution_is_the_median_of_the_repeats_at_every_share() -> None:
    """At the median 1, 5 and 3 ms give 3 ms; at 99 per cent only two repeats know: 8 and 10 give 9 ms."""
    quantiles = ([[0.5, 1.0], [0.99, 8.0]], [[0.5, 5.0], [0.99, 10.0]], [[0.5, 3.0]])
    text = report(*(load_row(rate=9.0, repeat=i, quantiles=found) for i, found in enumerate(quantiles)))
    found = cells(text, "Latency by share of requests")
    assert {share: found[share] for share in found if "%" in share} == {"50 %": ["3.00 ms"], "99 %": ["9.00 ms"]}


def test_the_cache_workers_and_generators_are_compared_alone() -> None:
    """Each against the first of its kind, off before warm and one before two; what has no counterpart is left out."""
    rows = [
        load_row(throughput=1200.0),
        load_row(cache="off", throughput=800.0),
        load_row(workers=2, throughput=1800.0),
        load_row(generator="locust", throughput=1260.0),
        load_row("dcn", cache="cold", throughput=5.0),
    ]
    text = report(*rows)

    def compared(title: str) -> list[list[str]]:
        below = text[text.index(f"### {title}\n") :].split("\n\n")[1]
        return [[cell.strip() for cell in line.split("|")[1:5]] for line in below.splitlines()[3:]]

    assert compared("Cache off, cold and warm") == [
        ["UserIP", "off", "800", "-"],
        ["UserIP", "warm", "1,200", "1.50x"],
    ]
    assert compared("Workers") == [["UserIP", "1", "1,200", "-"], ["UserIP", "2", "1,800", "1.50x"]]
    assert compared("The same load from different generators") == [
        ["UserIP", "own", "1,200", "-"],
        ["UserIP", "locust", "1,260", "1.05x"],
    ]


def test_batches_of_unlike_size_are_unlike_loads() -> None:
    """16 requests in a body are not compared with 4; the same 16 are, and the heading says how many."""
    mine = load_row(route="/score/batch", batch=16, throughput=50.0)
    others = [load_row("echo", route="/score/batch", batch=size, throughput=100.0 * size) for size in (4, 16)]
    text = report(mine, *others)
    assert cells(text, "Closed loops")["UserIP"][1] == "0.03x"
    assert "/score/batch, 16 at once, 100 candidates" in text


def test_a_profile_has_no_candidates() -> None:
    """Whatever number its rows carry along."""
    assert "score-100: /profile, closed loop, 32 connections" in report(load_row(route="/profile"))


def test_scale_says_how_much_slower_a_lookup_gets() -> None:
    """60 us among 10,000 users and 66 among 10,000,000: 1.10 times, each the median of its repeats."""
    rows = [scale_row("redis", 10_000, us) for us in (60.0, 50.0, 90.0)] + [scale_row("redis", 10_000_000, 66.0)]
    text = report(*rows)
    assert "redis: a lookup among 10,000,000 users takes 1.10x as long as among 10,000." in text
    assert "- **24 bytes** a user in Redis (at 10,000,000 users)" in text


def test_banks_and_releases_have_a_line_for_each_size() -> None:
    """Sorted by size, slots apart, the median of repeats; figures that no row has take no column."""
    rows = [
        *(scale_row("redis", 1000, us, slots=2, publisher_mb=90.0) for us in (60.0, 50.0, 70.0)),
        scale_row("redis", 10, 40.0, slots=2),
        scale_row("redis", 10, 30.0, slots=1),
        *({"scenario": "release-scale", "users": 7, "items": items, "load_s": items / 4} for items in (8, 2)),
    ]
    text = report(*rows)
    below = text[text.index("### Banks by number of users\n") :].split("\n\n")[1].splitlines()
    assert below[0] == "| bank | users | slots | bytes/user | p50, µs | MiB |"
    assert below[2:] == [
        "| redis | 10 | 1 | 24 | 30 | - |",
        "| redis | 10 | 2 | 24 | 40 | - |",
        "| redis | 1,000 | 2 | 24 | 60 [50, 70] | 90 |",
    ]
    below = text[text.index("### Releases by size\n") :].split("\n\n")[1].splitlines()
    assert [below[0], *below[2:]] == ["| users | items | load, s |", "| 7 | 2 | 0.5 |", "| 7 | 8 | 2 |"]


def test_cells_with_a_late_or_busy_generator_or_unlike_repeats_are_caveats() -> None:
    """A generator at 95 % of its core, one 3 ms late of 8, repeats of 4 and 8 ms; the quiet one is not named."""
    rows = [
        load_row(scenario="busy", generator_cpu=0.95),
        load_row(scenario="late", rate=10.0, late_ms=3.0),
        load_row(scenario="unlike", p99_ms=4.0),
        load_row(scenario="unlike", p99_ms=8.0, repeat=1),
        load_row(scenario="quiet", rate=10.0, late_ms=0.1),
    ]
    text = report(*rows)
    found = cells(text, "Cells to read with care")
    assert found["busy, UserIP"][0] == "the generator's core was full"
    assert found["late, UserIP"][0] == "the generator was late"
    assert found["unlike, UserIP"][0] == "repeats do not agree"
    assert "3 of 4 cells are to be read with care." in text


def test_what_failed_and_cores_that_were_shared_are_caveats() -> None:
    """The kind that most failures are of; nothing about good rows."""
    rows = [
        load_row(scenario="good"),
        load_row(scenario="failing", failed=3, failures={"no answer": 1, "status 503": 2}),
        load_row(scenario="shared", apart=False),
    ]
    found = cells(report(*rows), "Cells to read with care")
    assert found["failing, UserIP"][0].startswith("failed requests, mostly status 503: the other figures are")
    assert found["shared, UserIP"][0].startswith("too few cores")
    assert "good, UserIP" not in found
