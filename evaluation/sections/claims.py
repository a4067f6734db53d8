"""From differences to a claim: its verdict, its sentence, and its forest plot."""

from collections.abc import Sequence

from userip.evaluation.intervals import Difference
from userip.reporting.blocks import Block, IntervalRow, Intervals, Kind, Outcome, Section
from userip.reporting.numbers import write_cell

Found = Sequence[tuple[str, Difference]]  # what it is taken to, and the difference
MOST = 3  # differences that a sentence spells out
NOTHING_OF_OURS = "The method itself has no predictions here; the protocol says why."


def claim(
    title: str, question: str, subject: str, found: Found, blocks: Sequence[Block] = (), measure: str = "AUC"
) -> Section:
    """A section that is answered by the differences of `subject` to what it is compared with."""
    summary = [f"{above_below(one)} {name} {say_gain(one)}" for name, one in found]
    if len(found) > MOST:  # the figure has the numbers
        sides: dict[str, list[str]] = {}
        for name, one in found:
            sides.setdefault(above_below(one), []).append(name)
        summary = [f"{side} {', '.join(names)}" for side, names in sides.items()]
    answer = f"{measure} of {subject}: {listed(summary)}." if summary else "There is nothing to compare with."
    return Section(title, question, answer, verdict_of([one for _, one in found]), tuple(blocks))


def verdict_of(differences: Sequence[Difference], *, missed: bool = False) -> Outcome:
    """yes: every interval lies above zero; no: one lies below zero, or a stated goal was missed; else undecided."""
    if missed or any(one.high < 0 for one in differences):
        return "no"
    return "yes" if differences and all(one.low > 0 for one in differences) else "undecided"


def forest(title: str, axis: str, found: Found, note: str = "") -> Intervals:
    """The differences as a plot."""
    return Intervals(title, axis, tuple(interval_row(name, one) for name, one in found), note=note)


def interval_row(name: str, one: Difference, group: str = "") -> IntervalRow:
    """A row of a forest plot."""
    return IntervalRow(name, one.mean, one.low, one.high, group)


def say(difference: Difference, kind: Kind = "difference") -> str:
    """The figure and its interval in a sentence."""
    return write_cell(difference, kind)


def say_gain(difference: Difference) -> str:
    """Figure, interval and seeds above zero in brackets, behind what it is above or below."""
    seeds = f", {sign_count(difference)} seeds above" if difference.per_seed else ""
    return f"({say(difference)}{seeds})"


def sign_count(difference: Difference) -> str:
    """In how many seeds the difference is above zero, as "4 of 5"."""
    return f"{difference.above} of {len(difference.per_seed)}" if difference.per_seed else ""


def listed(names: Sequence[str]) -> str:
    """ "", "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def above_below(difference: Difference) -> str:
    """ "above", "below" or, where the interval holds zero or is not known, "not distinguishable from"."""
    return "above" if difference.low > 0 else "below" if difference.high < 0 else "not distinguishable from"
