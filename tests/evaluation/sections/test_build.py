"""The whole report: which sections there are, and that both renderers take it."""

import pytest

from tests.evaluation.sections import made_up
from userip.evaluation.sections import build_report
from userip.evaluation.sections.comparisons import Comparisons
from userip.reporting.blocks import Report
from userip.reporting.markdown import markdown
from userip.reporting.page import html
from userip.training.data.dataset import Split

BOTH = {
    "Against statistics codes", "Against every other grouping", "Against other recommenders",
    "Transfer to other recommenders", "What each part is worth", "Codebook sizes and other settings",
    "Use and agreement of codes", "What codes stand for", "Soft tokens as words", "Where the model looks",
    "What a profile is worth", "Protocol",
}  # fmt: skip
OWN: dict[Split, set[str]] = {
    "users": {"Users never seen", "Against retraining", "How much history it takes"},
    "random": {"Users seen"},
}


@pytest.fixture(scope="module")
def report() -> Report:
    """Of all parts there are, for users never seen."""
    return build_report(Comparisons(made_up.full(), 100))


def test_every_claim_has_question_answer_and_verdict(report: Report) -> None:
    """All sections but the protocol, under titles that differ."""
    titles = [section.title for section in report.sections]
    assert set(titles) == BOTH | OWN["users"]
    assert len(titles) == len(set(titles))
    for section in report.sections[:-1]:
        assert section.question.endswith("?")
        assert section.answer.endswith(".")
        assert section.verdict in ("yes", "no", "undecided")


def test_other_splits_ask_of_users_seen() -> None:
    """A random split has its own question, and none of the users split."""
    titles = {section.title for section in build_report(Comparisons(made_up.full("random"), 20)).sections}
    assert titles == BOTH | OWN["random"]


def test_missing_parts_are_left_out() -> None:
    """Controls alone come to their sections and the protocol."""
    few = made_up.results(made_up.controls({"constant": 1.0, "random": 1.0, "userip": 2.0}))
    titles = [section.title for section in build_report(Comparisons(few, 20)).sections]
    assert titles == ["Users seen", "Against every other grouping", "Protocol"]


def test_without_userip_the_report_says_so() -> None:
    """Where UserIP itself failed, its claims are undecided, and the controls are shown all the same."""
    few = made_up.results(made_up.controls({"constant": 1.0, "random": 1.0}))
    section = build_report(Comparisons(few, 20)).sections[0]
    assert section.verdict == "undecided"
    assert "no predictions" in section.answer
    assert section.blocks


def test_both_renderers_take_it(report: Report) -> None:
    """Markdown and HTML hold every answer's section, the failures, and no markup out of a data set's texts."""
    text, page = markdown(report), html(report)
    for section in report.sections:
        assert f"## {section.title}" in text
        assert f"<h2>{section.title}</h2>" in page
    assert "without surrogate" in text
    assert "Noir &lt;b&gt;" in page
    assert "<b>" not in page.partition("What codes stand for</h2>")[2].partition("</section>")[0]


def test_the_same_results_give_the_same_text(report: Report) -> None:
    """Nothing in it is drawn anew."""
    assert markdown(build_report(Comparisons(made_up.full(), 100))) == markdown(report)
