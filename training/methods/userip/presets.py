"""What each preset changes against the defaults."""

from typing import Any, Final

from userip.training.language.config import FACETS

# The paper's sizes: hobby 4, background 3.
_SMALL: Final = [facet.model_dump() | {"size": size} for facet, size in zip(FACETS, (4, 3), strict=True)]
# History as plain text, every item behind those before it.
_TEXT: Final = {"factorised": False, "polarity_weight": 1.0, "title_weight": 1.0, "longest": 8}
_FIT: Final = {"lr": 1e-3, "weight_decay": 1e-6, "dropout": 0.2}

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "quick": {
        "language": {"steps": 150, "users": 48, "layers": 2, "vocabulary": 2048},
        "infer": {"shared_steps": 10, "probe_users": 96, "priors": [1.0]},
        "quantize": {"restarts": 4},
    },
    # The paper's text: Eq. 2 to 7 with all weights .001, mean-reduced; no cross-fitting.
    "paper": {
        "facets": _SMALL,
        "history": _TEXT,
        "infer": {
            "start": "shared", "rank": 0, "folds": 0, "steps": 4, "lr": 0.05, "priors": [0.0], "probe_users": 0,
        },
        "quantize": {
            "metric": "plain", "click_weight": 0.0, "update": "gradient", "alpha": 1e-3, "beta": 1e-3,
            "gamma": 1e-3, "reduction": "mean", "balance": False, "em_rounds": 2, "revive_share": 0.0,
        },
        "fit": _FIT,
    },
    # The released code: no surrogate, no commitment, an online k-means of z that starts near zero.
    "released": {
        "facets": _SMALL,
        "history": _TEXT,
        "infer": {
            "start": "random", "rank": 0, "folds": 0, "shared_steps": 0, "steps": 4, "lr": 0.05, "priors": [0.0],
            "probe_users": 0,
        },
        "quantize": {
            "start": "uniform", "metric": "plain", "click_weight": 0.0, "update": "gradient", "alpha": 0.5,
            "beta": 0.0, "gamma": 1.0, "reduction": "mean", "surrogate": False, "balance": False, "em_rounds": 2,
            "revive_share": 0.0,
        },
        "fit": _FIT,
    },
}  # fmt: skip
