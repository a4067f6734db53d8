"""Whether soft tokens can be read as words, and what they do to attention (Figure 7)."""

from typing import Final

from userip.evaluation.explain.attention import EVEN, Attention, AttentionChange
from userip.evaluation.explain.run import FacetWords
from userip.evaluation.explain.words import NearestWords
from userip.evaluation.results import Results
from userip.evaluation.sections.wording import listed
from userip.reporting.blocks import (
    Cell,
    Column,
    Estimate,
    IntervalRow,
    Intervals,
    Outcome,
    Section,
    Table,
)
from userip.reporting.numbers import write_cell

ALPHA: Final = 0.05
SHOWN: Final = ("template", "slots", "content")
NEAREST: Final = 4  # words of a row
QUERY: Final = "history"  # every token of the history looks; the paper's figure does not say which


def nearest_words(results: Results) -> list[Section]:
    """Words nearest to every code's centre, against what random vectors come to (docs/method.md#explaining-codes)."""
    if results.explanation is None or not results.explanation.words:
        return []
    facets = results.explanation.words
    centres = [one for facet in facets for one in facet.codes]
    if not centres:
        return []
    kinds = list(dict.fromkeys(chance.like for one in centres for chance in one.chances))
    near = {kind: sum(_adjusted(one, kind) <= ALPHA for one in centres) for kind in kinds}
    both = sum(all(chance.adjusted <= ALPHA for chance in one.chances) for one in centres)
    against = {"words": "random points among the words", "profiles": "random profiles"}
    told = [
        f"{count} of {len(centres)} are nearer to a word than {against.get(kind, kind)}" for kind, count in near.items()
    ]
    answer = (
        f"Of the codes' centres, {listed(told)}, after correction for all of them. Some word is nearest to any vector."
    )
    verdict: Outcome = "yes" if both > len(centres) / 2 else "no" if not both else "undecided"
    question = "Can soft tokens be read as words: are most codes nearer to a word than chance would have it?"
    return [Section("Soft tokens as words", question, answer, verdict, tuple(_words(facet, kinds) for facet in facets))]


def attention_moves(results: Results) -> list[Section]:
    """Does a tuned profile draw attention from template words to what an item says (Figure 7)?"""
    if results.explanation is None or results.explanation.attention is None:
        return []
    attention = results.explanation.attention
    changes = [one for one in attention.changes if one.query == QUERY and one.part in ("template", "content")]
    if not changes:
        return []
    befores = list(dict.fromkeys(one.before for one in changes))
    found = {(one.before, one.part): one for one in changes}
    told = [
        f"against {before} slots, content gets {_say(found[before, 'content'])} and template words "
        f"{_say(found[before, 'template'])}"
        for before in befores
    ]
    answer = f"With every user's own profile, {'; '.join(told)} of all attention ({attention.users} users)."
    answer += " Attention does not show what a model uses, so this says where it looks and no more."
    content, template = found[befores[0], "content"], found[befores[0], "template"]
    verdict: Outcome = "undecided"
    if content.high < 0 or template.low > 0:
        verdict = "no"
    elif content.low > 0 and template.high < 0:
        verdict = "yes"
    question = "Do tuned profiles draw attention from template words to what an item says, against a random start?"
    blocks = (_forest(attention, befores), _shares(attention))
    return [Section("Where the model looks", question, answer, verdict, blocks)]


def _adjusted(one: NearestWords, kind: str) -> float:
    return next((chance.adjusted for chance in one.chances if chance.like == kind), 1.0)


def _words(facet: FacetWords, kinds: list[str]) -> Table:
    chances = (Column(f"p, random {kind}", "number") for kind in kinds)
    columns = (Column("vector"), Column("nearest words"), Column("cosine", "number"), *chances)
    rows: list[tuple[Cell, ...]] = []
    for one in (*facet.codes, *facet.shared):
        words = ", ".join(near.word for near in one.words[:NEAREST])
        cosine = one.words[0].cosine if one.words else None
        known = {chance.like: chance.adjusted for chance in one.chances}
        rows.append((one.name, words, cosine, *(known.get(kind) for kind in kinds)))
    note = (
        "p: chance that a random vector has a nearer word, times the number of vectors asked about. Profiles that "
        "start at words lie among words: then only the comparison with random profiles can surprise."
    )
    return Table(f"Words nearest to the codes of {facet.facet}", columns, tuple(rows), note)


def _say(change: AttentionChange) -> str:
    return write_cell(Estimate(change.mean, change.low, change.high), "change")


def _forest(attention: Attention, befores: list[str]) -> Intervals:
    rows = tuple(
        IntervalRow(f"{one.part}, seen from {one.query}", one.mean, one.low, one.high, f"against {one.before} slots")
        for before in befores
        for one in attention.changes
        if one.before == before and one.part in SHOWN
    )
    return Intervals(
        "Attention with own profiles, minus attention before", "change of the share of attention", rows, kind="change",
        references=(),
        note="95 % intervals, users redrawn; not corrected for their number. More is not better: no colours.",
    )  # fmt: skip


def _shares(attention: Attention) -> Table:
    fills = list(dict.fromkeys(one.fill for one in attention.shares))
    columns = (
        Column("looked at"),
        *(Column("all visible alike" if fill == EVEN else fill, "percent") for fill in fills),
    )
    rows: list[tuple[Cell, ...]] = []
    for query in dict.fromkeys(one.query for one in attention.shares):
        rows.append((f"seen from {query}",))
        parts = [one for one in attention.shares if one.query == query]
        for part in dict.fromkeys(one.part for one in parts):
            known = {one.fill: Estimate(one.mean, one.low, one.high) for one in parts if one.part == part}
            rows.append((part, *(known.get(fill) for fill in fills)))
    note = f"Means over {attention.users} users, {attention.layers} layers and {attention.heads} heads."
    return Table("Share of attention", columns, tuple(rows), note)
