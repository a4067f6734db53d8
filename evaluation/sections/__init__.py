"""The report's sections: every claim as a question, answered with a verdict; what was not made has none."""

from userip.evaluation.sections.ablations import ablations, sweeps
from userip.evaluation.sections.codes import codes_explained, codes_in_use
from userip.evaluation.sections.comparisons import Comparisons
from userip.evaluation.sections.explanation import attention_moves, nearest_words
from userip.evaluation.sections.learning import learning_curve
from userip.evaluation.sections.profile import profile_worth
from userip.evaluation.sections.protocol import facts, protocol
from userip.evaluation.sections.recommenders import against_recommenders, codes_transfer
from userip.evaluation.sections.unseen import unseen_users
from userip.evaluation.sections.users import against_formulas, against_other_codes, seen_users
from userip.reporting.blocks import Report
from userip.training.data.dataset import NEW_ITEMS, NEW_USERS

COMPARED = (
    unseen_users, seen_users, against_formulas, against_other_codes, against_recommenders, codes_transfer, ablations,
    sweeps, learning_curve,
)  # fmt: skip
READ = (codes_in_use, codes_explained, nearest_words, attention_moves, profile_worth)


def build_report(compare: Comparisons) -> Report:
    """Every claim that the results can test, each with its answer and verdict, then the protocol.

    The same results give the same report.
    """
    results = compare.results
    sections = [section for part in COMPARED for section in part(compare)]
    sections += [section for part in READ for section in part(results)]
    users = "users never seen" if results.split in NEW_USERS else "users seen"
    items = " and items never rated" if results.split in NEW_ITEMS else ""
    return Report(
        f"UserIP on {results.dataset}",
        f"The paper's claims, tested on {users}{items} ({results.split} split); each answer is of this data set alone.",
        (*sections, *protocol(compare)),
        facts(results),
    )
