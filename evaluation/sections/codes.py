"""Are codes used, do seeds agree on them, and what do they stand for (Table 5)?"""

from collections.abc import Sequence
from typing import Final

from userip.evaluation.explain.codes import CodeExplanation, FacetExplanation, Judgement, Mean
from userip.evaluation.explain.maps import FacetMap
from userip.evaluation.results import Codebook, Results
from userip.evaluation.sections.wording import listed
from userip.reporting.blocks import (
    Bars,
    Block,
    Cell,
    CodeMap,
    Column,
    Estimate,
    Outcome,
    Section,
    Series,
    Table,
    Word,
    WordGroup,
    WordLists,
)

AGREE: Final = 0.6  # adjusted Rand index that a claim of "profile" expects (docs/method.md#collapse)
SHOWN: Final = 10  # words of a card
NOTE: Final = (
    "Codes were inferred from the train rows that are described here: this says what a code holds, and validates "
    "nothing. Shown is what stands over a lift of 1 after Bonferroni's correction for all candidates of the facet."
)


def codes_in_use(results: Results) -> list[Section]:
    """Usage, perplexity, collapse, and agreement between seeds."""
    books = results.codebooks
    if not books:
        return []
    collapsed = [f"{book.facet} (seed {book.seed})" for book in books if book.collapsed]
    facets = list(dict.fromkeys(book.facet for book in books))
    used = [f"{facet} uses {_worth(books, facet)}" for facet in facets]
    answer = f"{listed(used)} codes"
    answer += f"; collapsed: {listed(collapsed)}" if collapsed else "; no codebook has collapsed"
    if results.agreement:
        rand = [f"{facet} {value:.2f}" for facet, value in results.agreement.items()]
        answer += f". Seeds agree with adjusted Rand index {listed(rand)}, where {AGREE} is asked and 0 is chance"
    else:
        answer += ". With one seed nothing can be said of agreement"
    low = any(value < AGREE for value in results.agreement.values())
    verdict: Outcome = "no" if collapsed or low else "yes" if results.agreement else "undecided"
    columns = (
        Column("facet"), Column("seed", "count"), Column("codes", "count"), Column("worth", "number"),
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
    note = "Worth: perplexity, the number of equally used codes that would be as informative. Agreement: all seeds."
    table = Table("Codebooks", columns, tuple(rows), note)
    first = [book for book in books if book.seed == min(one.seed for one in books)]
    question = "Are all codes in use, and do two seeds group users alike?"
    return [Section("Use and agreement of codes", question, f"{answer}.", verdict, (table, *map(_usage, first)))]


def codes_explained(results: Results) -> list[Section]:
    """Over-represented items, attributes and words of every code, how its users judge, and the map of users."""
    if results.explanation is None:
        return []
    found = results.explanation.codes
    told, spoken = [], []
    for facet in found:
        used = [code for code in facet.codes if code.users]
        speaking = [code for code in used if code.items or code.attributes or code.words]
        spoken.append(len(speaking) / max(len(used), 1))
        told.append(f"{len(speaking)} of {len(used)} codes of {facet.facet}")
    answer = (
        f"Something surely stands out in {listed(told)}. That describes the codes; whether they hold anything of rows "
        "not seen is for the recommenders to show."
    )
    verdict: Outcome = "undecided"
    if spoken and min(spoken) > 0.5:
        verdict = "yes"
    elif not any(spoken):
        verdict = "no"
    blocks: list[Block] = []
    for facet in found:
        blocks += [_cards(facet), _judgements(facet)]
    blocks += [_map(one, found) for one in results.explanation.maps]
    question = "Does something stand out in most codes of every facet, beyond what chance would show?"
    return [Section("What codes stand for", question, answer, verdict, tuple(blocks))]


def _worth(books: Sequence[Codebook], facet: str) -> str:
    mine = [book for book in books if book.facet == facet]
    return f"{sum(book.perplexity for book in mine) / len(mine):.1f} of {mine[0].size}"


def _usage(book: Codebook) -> Bars:
    labels = tuple(str(code) for code in range(len(book.usage)))
    series = (Series("share of users", labels, book.usage),)
    return Bars(f"Use of the codes of {book.facet}", "code", "share of users", series, "percent")


def _cards(facet: FacetExplanation) -> WordLists:
    groups = []
    for code in facet.codes:
        if code.users:
            found = sorted((*code.attributes, *code.items, *code.words), key=lambda one: (one.p, -one.lift))
            words = tuple(Word(_kind(one.kind, one.name), one.lift, one.low, one.high) for one in found[:SHOWN])
            groups.append(WordGroup(f"{facet.facet} {code.code}", words, f"{code.users:,} users"))
    return WordLists(f"What the users of each code like more than all do: {facet.facet}", tuple(groups), NOTE)


def _kind(kind: str, name: str) -> str:
    return name if kind == "item" else f"{name} ({kind})"


def _judgements(facet: FacetExplanation) -> Table:
    columns = (
        Column("code"), Column("users", "count"), Column("share liked", "percent"),
        Column("likes above the items' means", "difference"), Column("rows a user", "number"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (f"{code.code}{_title(code)}", float(code.users), *_judged(code.judgement)) for code in facet.codes
    ]
    rows.append(("everybody", float(facet.users), *_judged(facet.everybody)))
    note = "Means over users of each user's own mean, with 95 % intervals, on the train rows that made the codes."
    return Table(f"How the users of each code judge: {facet.facet}", columns, tuple(rows), note)


def _judged(one: Judgement) -> tuple[Estimate | None, ...]:
    return tuple(_estimate(mean) for mean in (one.label, one.polarity, one.activity))


def _estimate(mean: Mean | None) -> Estimate | None:
    return None if mean is None else Estimate(mean.mean, mean.low, mean.high)


def _title(code: CodeExplanation) -> str:
    """The most certain attribute, word or item of a code, to know it by; "" where nothing stands out."""
    found = sorted((*code.attributes, *code.words, *code.items), key=lambda one: (one.p, -one.lift))
    return f", {found[0].name}" if found else ""


def _map(one: FacetMap, facets: tuple[FacetExplanation, ...]) -> CodeMap:
    codes = next((facet.codes for facet in facets if facet.facet == one.facet), ())
    names = tuple(_title(code).removeprefix(", ") for code in codes)  # the map puts the number before it
    note = (
        f"The two axes hold {100 * one.explained[0]:.0f} % and {100 * one.explained[1]:.0f} % of the variance of "
        f"profiles; {100 * one.nearest:.0f} % of users have the code nearest to the profile shown."
    )
    return CodeMap(f"Users by their profile: {one.facet}", one.x, one.y, one.codes, names, note)
