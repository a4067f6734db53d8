"""The strongest simple things: scores by a formula or a small model over counts, with no profile and no network.

All are fitted to train rows, cross-fitted, and tuned on validation rows, as everything else is; a user's numbers come
from their whole train or held-out history.
"""

from collections.abc import Callable
from typing import Final

from userip.evaluation.formulas.ground import Ground, Scorer
from userip.evaluation.formulas.learners import fit_lightgbm, fit_lr
from userip.evaluation.formulas.levels import fit_ease, fit_generosity, fit_judging
from userip.evaluation.formulas.tastes import fit_als, fit_attributes, fit_both, fit_ease_items

FORMULAS: Final[dict[str, Callable[[Ground], Scorer]]] = {
    "ease": fit_ease,
    "ease+generosity": fit_generosity,
    "judging": fit_judging,
    "closed-form": fit_attributes,
    "closed-form-als": fit_als,
    "closed-form-both": fit_both,
    "ease-items": fit_ease_items,
    "lr": fit_lr,
    "lightgbm": fit_lightgbm,
}
