"""Scores by a formula or a small model over counts, with no network and no codes: what profiles have to beat.

Each is a function from a data set to scores of rows (docs/method.md#formulas). Statistics and models are fitted to
train rows, cross-fitted; strengths and the scale of probabilities are chosen on validation rows.
"""

from collections.abc import Callable
from typing import Final

from userip.training.formulas.ground import Ground, Scorer
from userip.training.formulas.learners import fit_lightgbm, fit_lr
from userip.training.formulas.levels import fit_ease, fit_generosity, fit_judging
from userip.training.formulas.tastes import fit_als, fit_attributes, fit_both, fit_ease_items, fit_judging_taste

FORMULAS: Final[dict[str, Callable[[Ground], Scorer]]] = {
    "ease": fit_ease,
    "ease+generosity": fit_generosity,
    "judging": fit_judging,
    "closed-form": fit_attributes,
    "closed-form-als": fit_als,
    "closed-form-both": fit_both,
    "judging+closed-form": fit_judging_taste,
    "ease-items": fit_ease_items,
    "lr": fit_lr,
    "lightgbm": fit_lightgbm,
}
CHEAP: Final = ("ease", "ease+generosity", "judging")  # shown beside every result of `train`
