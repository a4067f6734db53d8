"""Learning curve, codes, explanation, probe and protocol: verdicts and what the answers own up to."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tests.evaluation.sections import made_up
from userip.evaluation.results import Results
from userip.evaluation.sections.codes import codes_explained, codes_in_use
from userip.evaluation.sections.comparisons import Comparisons
from userip.evaluation.sections.explanation import attention_moves, nearest_words
from userip.evaluation.sections.learning import learning_curve
from userip.evaluation.sections.profile import over_seeds, profile_worth
from userip.evaluation.sections.protocol import facts, protocol
from userip.reporting.blocks import CodeMap, Lines, Section, Table
from userip.reporting.numbers import write_cell
from userip.reporting.tables import as_table


def _curve(first: float) -> Section:
    curve = made_up.curve({1: first, 2: 1.5, 8: 2.5})
    return learning_curve(Comparisons(made_up.results([], "users", curve=curve), 200))[0]


@pytest.mark.parametrize(("first", "verdict"), [(1.5, "yes"), (0.5, "undecided"), (0.1, "no")])
def test_the_first_row_decides_the_learning_curve(first: float, verdict: str) -> None:
    """The question is about the first interaction, however good the profile becomes."""
    assert _curve(first).verdict == verdict


def test_when_the_gain_becomes_sure() -> None:
    """Nothing after one row, a gain from two rows on: the band shows it."""
    gains = _curve(0.5).blocks[0]
    assert isinstance(gains, Lines)
    assert [(x, low > 0) for x, low in zip(gains.series[0].x, gains.series[0].low, strict=True)] == [
        (1, False), (2, True), (8, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("collapsed", "agreement", "verdict"),
    [
        (False, {"hobby": 0.7}, "yes"),
        (False, {"hobby": 0.5}, "no"),
        (True, {"hobby": 0.7}, "no"),
        (False, {}, "undecided"),
    ],
)
def test_use_and_agreement(collapsed: bool, agreement: dict[str, float], verdict: str) -> None:
    """A collapsed codebook is a no, and so is agreement under 0.6; one seed leaves it open."""
    found = made_up.results([], codebooks=made_up.books(collapsed=collapsed), agreement=agreement)
    assert codes_in_use(found)[0].verdict == verdict


def _explained(**more: float | bool) -> Results:
    return made_up.results([], explanation=made_up.explanation(**more))  # type: ignore[arg-type]


def test_explained_codes_describe_and_do_not_validate() -> None:
    """The answer says so, whatever stands out; nothing standing out is a no."""
    yes, no = (codes_explained(_explained(stands_out=stands_out))[0] for stands_out in (True, False))
    assert (yes.verdict, no.verdict) == ("yes", "no")
    assert "it validates nothing" in yes.answer


@pytest.mark.parametrize(("near", "verdict"), [(0.01, "yes"), (0.2, "no")])
def test_nearest_words_are_held_against_chance(near: float, verdict: str) -> None:
    """Words are read off the codes only where their adjusted p says that chance would not come as near."""
    assert nearest_words(_explained(near=near))[0].verdict == verdict


@pytest.mark.parametrize(("content", "verdict"), [(0.02, "yes"), (0.005, "undecided"), (-0.02, "no")])
def test_attention(content: float, verdict: str) -> None:
    """The planted shift of attention to content, intervals of one percentage point on either side."""
    section = attention_moves(_explained(content=content))[0]
    assert section.verdict == verdict
    assert "It says where the model looks, no more" in section.answer


@pytest.mark.parametrize(("shared", "verdict"), [(8.5, "yes"), (7.5, "no"), (None, "undecided")])
def test_worth_of_a_profile(shared: float | None, verdict: str) -> None:
    """The own profile against the shared prompt and another user's; one seed has no interval."""
    probes = {0: made_up.probe(8.0, 8.5, 9.0)} if shared is None else {
        seed: made_up.probe(8.0, shared + 0.01 * seed, 9.0 + 0.01 * seed) for seed in range(3)
    }  # fmt: skip
    assert profile_worth(made_up.results([], probe=probes))[0].verdict == verdict


def test_interval_over_seeds_is_students() -> None:
    """Mean and bounds as SciPy's one-sample t interval."""
    values = [0.1, 0.3, 0.2, 0.6]
    found = over_seeds(values)
    bounds = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert [found.mean, found.low, found.high] == pytest.approx([np.mean(values), bounds.low, bounds.high])


def test_the_protocol_tells_what_failed_and_what_is_not_sane() -> None:
    """Every failure with its reason; a control that is worse than the constant rate in logloss is named."""
    full = made_up.full()
    section = protocol(Comparisons(full, 50))[0]
    tables = {block.title: block for block in section.blocks if isinstance(block, Table)}
    assert ("llm, pepler-style", "skipped", "too large here") in tables["What was not done"].rows
    assert section.answer.startswith("2 parts failed and 1 were skipped")
    cells = made_up.constant_rate() + made_up.controls({"none": -3.0, "userip": 3.0})
    bad = protocol(Comparisons(made_up.results(cells), 50))[0]
    sanity = next(block for block in bad.blocks if isinstance(block, Table) and block.title == "Sanity")
    row = next(row for row in sanity.rows if str(row[0]).startswith("logloss"))
    assert row[1:] == ("DCN, no codes not", "no")


def test_facts_say_what_was_measured() -> None:
    """Data set, split, rows and users of the test."""
    found = dict(facts(made_up.full()))
    assert found["test rows"] == "800 of 80 users"
    assert found["test rows liked"] == "50.0 %"
    assert write_cell(found["split"], "text") == "users"


def test_test_rows_of_one_label_are_named() -> None:
    """Where no test row is disliked there is no AUC: the table of what must hold says why, and no NaN."""
    cells = [*made_up.constant_rate(), *made_up.controls({"constant": 1.0, "userip": 2.0})]
    liked = made_up.results([]).test.with_columns(label=pl.lit(value=True))
    section = protocol(Comparisons(made_up.results(cells, test=liked), 20))[0]
    sanity = next(block for block in section.blocks if isinstance(block, Table) and block.title == "Sanity")
    assert sanity.rows[0] == ("AUC of the constant rate is one half", "no AUC: all test rows are of one label", "no")
    assert not any("nan" in str(cell).lower() for row in sanity.rows for cell in row)


def test_a_code_on_the_map_has_its_number_once() -> None:
    """Beside the number stands the word that tells a code; where none does, the number alone."""
    for stands_out, wanted in ((True, ["0 Noir <b>", "1 Noir <b>"]), (False, ["0", "1"])):
        blocks = codes_explained(_explained(stands_out=stands_out))[0].blocks
        block = next(block for block in blocks if isinstance(block, CodeMap))
        assert [row[0] for row in as_table(block).rows] == wanted
