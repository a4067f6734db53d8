"""Are codes used, do seeds agree on them, and what do they stand for (paper, Table 5)?"""

from typing import Final

from userip.evaluation.explain.codes import CodeExplanation, FacetExplanation, Judgement
from userip.evaluation.explain.maps import FacetMap
from userip.evaluation.results import Codebook, Results
from userip.evaluation.sections.claims import listed
from userip.reporting.blocks import (
    Block,
    Cell,
    CodeMap,
    Column,
    Estimate,
    IntervalRow,
    Intervals,
    Outcome,
    Reference,
    Section,
    Table,
    Word,
    WordGroup,
    WordLists,
)

AGREE: Final = 0.6  # adjusted Rand index that a claim of "profile" expects (docs/method.md#controls)
SHOWN: Final = 10  # words of a card


def codes_in_use(results: Results) -> list[Section]:
    """Usage, perplexity, collapse, and agreement between seeds."""
    books = results.codebooks
    if not books:
        return []
    collapsed = [f"{book.facet} (seed {book.seed})" for book in books if book.collapsed]
    low = any(value < AGREE for value in results.agreement.values())
    verdict: Outcome = "no" if collapsed or low else "yes" if results.agreement else "undecided"
    answer = f"Collapsed: {listed(collapsed)}." if collapsed else "No codebook has collapsed."
    if results.agreement:
        rand = [f"{facet} {value:.2f}" for facet, value in results.agreement.items()]
        answer += f" Seeds agree with adjusted Rand index {listed(rand)}, where {AGREE} is asked and 0 is chance."
    columns = (
        Column("facet"), Column("seed", "count"), Column("codes", "count"), Column("perplexity", "number"),
        Column("smallest share", "percent"), Column("largest share", "percent"), Column("collapsed"),
        Column("agreement of seeds", "number"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (
            book.facet, float(book.seed), float(book.size), book.perplexity, min(book.usage), max(book.usage),
            "yes" if book.collapsed else "no", results.agreement.get(book.facet),
        )
        for book in books
    ]  # fmt: skip
    first = [book for book in books if book.seed == min(one.seed for one in books)]
    title, question = "Use and agreement of codes", "Are all codes in use, and do two seeds group users alike?"
    return [Section(title, question, answer, verdict, (Table("Codebooks", columns, tuple(rows)), *map(_usage, first)))]


def codes_explained(results: Results) -> list[Section]:
    """Over-represented items, attributes and words of every code, how its users judge, and the map of users."""
    if results.explanation is None:
        return []
    found = results.explanation.codes
    summary, parts = [], []
    for facet in found:
        used = [code for code in facet.codes if code.users]
        speaking = [code for code in used if code.items or code.attributes or code.words]
        parts.append(len(speaking) / max(len(used), 1))
        summary.append(f"{len(speaking)} of {len(used)} codes of {facet.facet}")
    verdict: Outcome = "undecided" if any(parts) or not parts else "no"
    if parts and min(parts) > 0.5:
        verdict = "yes"
    answer = f"Something significant stands out in {listed(summary)}, on the rows that made them: it validates nothing."
    blocks: list[Block] = [block for facet in found for block in (_cards(facet), _judgements(facet))]
    blocks += [_map(one, found) for one in results.explanation.maps]
    question = "Does something stand out in most codes of every facet, beyond what chance would show?"
    return [Section("What codes stand for", question, answer, verdict, tuple(blocks))]


def _usage(book: Codebook) -> Intervals:
    nan = float("nan")
    rows = tuple(IntervalRow(f"code {code}", share, nan, nan) for code, share in enumerate(book.usage))
    even = (Reference("all alike", 1 / len(book.usage)),)
    return Intervals(f"Use of the codes of {book.facet}", "share of users", rows, even, "percent")


def _cards(facet: FacetExplanation) -> WordLists:
    groups = []
    for code in facet.codes:
        if code.users:
            found = sorted((*code.attributes, *code.items, *code.words), key=lambda one: (one.p, -one.lift))
            names = [one.name if one.kind == "item" else f"{one.name} ({one.kind})" for one in found]
            words = tuple(
                Word(name, one.lift, one.low, one.high) for name, one in zip(names, found[:SHOWN], strict=False)
            )
            groups.append(WordGroup(f"{facet.facet} {code.code}", words, f"{code.users:,} users"))
    return WordLists(f"What the users of each code like more than all do: {facet.facet}", tuple(groups))


def _judgements(facet: FacetExplanation) -> Table:
    columns = (
        Column("code"), Column("users", "count"), Column("share liked", "percent"),
        Column("likes above the items' means", "difference"), Column("rows a user", "number"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for code in facet.codes:
        name = f"{code.code}, {title}" if (title := _title(code)) else str(code.code)
        rows.append((name, float(code.users), *_estimates(code.judgement)))
    rows.append(("everybody", float(facet.users), *_estimates(facet.everybody)))
    return Table(f"How the users of each code judge: {facet.facet}", columns, tuple(rows))


def _estimates(one: Judgement) -> list[Estimate | None]:
    return [one.label, one.polarity, one.activity]


def _title(code: CodeExplanation) -> str:
    """The most certain attribute, word or item of a code, to know it by; "" where nothing stands out."""
    found = sorted((*code.attributes, *code.words, *code.items), key=lambda one: (one.p, -one.lift))
    return found[0].name if found else ""


def _map(one: FacetMap, facets: tuple[FacetExplanation, ...]) -> CodeMap:
    codes = next((facet.codes for facet in facets if facet.facet == one.facet), ())
    first, second, near = (f"{100 * share:.0f} %" for share in (*one.explained, one.nearest))
    note = f"The axes hold {first} and {second} of the variance; {near} of users have the code nearest to the profile."
    names = tuple(_title(code) for code in codes)
    return CodeMap(f"Users by their profile: {one.facet}", one.x, one.y, one.codes, names, note)
