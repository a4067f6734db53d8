"""Whether soft tokens can be read as words, and what they do to attention (paper, Figure 7)."""

from typing import Final

from userip.evaluation.explain.attention import EVEN, Attention
from userip.evaluation.explain.run import FacetWords
from userip.evaluation.results import Results
from userip.evaluation.sections.claims import listed
from userip.reporting.blocks import Cell, Column, IntervalRow, Intervals, Outcome, Section, Table
from userip.reporting.numbers import write_cell

ALPHA: Final = 0.05
SHOWN: Final = ("template", "slots", "content")
NEAREST: Final = 4  # words of a row
QUERY: Final = "history"  # every token of the history looks; the paper's figure does not say which


def nearest_words(results: Results) -> list[Section]:
    """Words nearest to every code's centre, against what random vectors come to."""
    facets = results.explanation.words if results.explanation else ()
    centres = [one for facet in facets for one in facet.codes]
    if not centres:
        return []
    kinds = list(dict.fromkeys(chance.like for one in centres for chance in one.chances))
    near = dict.fromkeys(kinds, 0)
    for chance in (chance for one in centres for chance in one.chances):
        near[chance.like] += chance.adjusted <= ALPHA
    both = sum(all(chance.adjusted <= ALPHA for chance in one.chances) for one in centres)
    summary = [f"{count} are nearer to a word than random {kind}" for kind, count in near.items()]
    answer = f"Of {len(centres)} codes' centres {listed(summary)}, after correction for all of them."
    verdict: Outcome = "yes" if both > len(centres) / 2 else "no" if not both else "undecided"
    question = "Can soft tokens be read as words: are most codes nearer to a word than chance would have it?"
    return [Section("Soft tokens as words", question, answer, verdict, tuple(_words(facet, kinds) for facet in facets))]


def attention_moves(results: Results) -> list[Section]:
    """Does a tuned profile draw attention from template words to what an item says?"""
    attention = results.explanation.attention if results.explanation else None
    if attention is None:
        return []
    found = {(one.fill, one.part): one.share for one in attention.changes if one.query == QUERY}
    before = next((before for before, part in found if part == "content"), None)
    if before is None or (before, "template") not in found:
        return []
    content, template = found[before, "content"], found[before, "template"]
    verdict: Outcome = "undecided"
    if content.high < 0 or template.low > 0:
        verdict = "no"
    elif content.low > 0 and template.high < 0:
        verdict = "yes"
    said = [f"{part} {write_cell(one, 'change')}" for part, one in (("content", content), ("template words", template))]
    answer = f"Of all attention, against {before} slots: {listed(said)}. It says where the model looks, no more."
    question = "Do tuned profiles draw attention from template words to what an item says, against a random start?"
    return [Section("Where the model looks", question, answer, verdict, (_forest(attention), _shares(attention)))]


def _words(facet: FacetWords, kinds: list[str]) -> Table:
    chances = (Column(f"p, random {kind}", "number") for kind in kinds)
    columns = (Column("vector"), Column("nearest words"), Column("cosine", "number"), *chances)
    rows: list[tuple[Cell, ...]] = []
    for one in (*facet.codes, *facet.shared):
        words = ", ".join(near.word for near in one.words[:NEAREST])
        known = {chance.like: chance.adjusted for chance in one.chances}
        rows.append((one.name, words, one.words[0].cosine if one.words else None, *map(known.get, kinds)))
    return Table(f"Words nearest to the codes of {facet.facet}", columns, tuple(rows))


def _forest(attention: Attention) -> Intervals:
    rows = tuple(
        IntervalRow(
            f"{one.part}, seen from {one.query}", share.mean, share.low, share.high, f"against {one.fill} slots"
        )
        for one in attention.changes
        if one.part in SHOWN and (share := one.share)
    )
    title = "Attention with own profiles, minus attention before"
    return Intervals(title, "change of the share of attention", rows, references=(), kind="change")


def _shares(attention: Attention) -> Table:
    fills = list(dict.fromkeys(one.fill for one in attention.shares))
    names = ["all visible alike" if fill == EVEN else fill for fill in fills]
    rows: list[tuple[Cell, ...]] = []
    for query in dict.fromkeys(one.query for one in attention.shares):
        rows.append((f"seen from {query}",))
        parts = [one for one in attention.shares if one.query == query]
        for part in dict.fromkeys(one.part for one in parts):
            known = {one.fill: one.share for one in parts if one.part == part}
            rows.append((part, *map(known.get, fills)))
    note = f"Means over {attention.users} users, {attention.layers} layers and {attention.heads} heads."
    columns = (Column("looked at"), *(Column(name, "percent") for name in names))
    return Table("Share of attention", columns, tuple(rows), note)
