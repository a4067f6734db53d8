"""How methods and recommenders are called in the report."""

from typing import Final

from userip.evaluation.plan import NO_FIELD
from userip.evaluation.sections.comparisons import Row

_METHODS: Final = {
    "none": "no codes",
    "mean-rating": "mean-rating bins",
    "activity": "activity bins",
    "kmeans": "k-means of items met",
    "genre-kmeans": "k-means of attributes liked",
    "statistics-mf": "statistics codes (MF)",
    "rating-bias": "rating-bias bins (likes and ratings)",
    "retrained": "retrained with their history",
    "kar-style": "KAR-style",
    "pepler-style": "PEPLER-style",
    "rella-style": "ReLLa-style",
    "constant-rate": "constant rate",
    "ease": "ease of items, no model",
    "ease+generosity": "ease + generosity, no model",
    "judging": "logistic regression on counts",
    "lr": "logistic regression on counts and attributes",
    "lightgbm": "LightGBM on counts and attributes",
    "closed-form": "ridge taste over attributes",
    "closed-form-als": "ridge taste over factors",
    "judging+closed-form": "ridge taste over attributes beside counts",
    "closed-form-both": "ridge taste over both",
    "ease-items": "EASE on residuals",
}
_RECOMMENDERS: Final = {
    "ffm": "FFM", "afm": "AFM", "fibinet": "FiBiNET", "difm": "DIFM", "afn": "AFN", "deepfm": "DeepFM",
    "autoint": "AutoInt", "onn": "ONN", "pnn": "PNN", "dcnv2": "DCNv2", "dcn": "DCN",
}  # fmt: skip


def method_name(method: str) -> str:
    """ "no codes" for "none"; "statistics codes" for "statistics", and so for every other method, ours among them."""
    return _METHODS.get(method, f"{method} codes")


def recommender_name(recommender: str) -> str:
    """ "DCN without user field" for "dcn-no-user-field"."""
    plain = recommender.removesuffix(NO_FIELD)
    return _RECOMMENDERS.get(plain, plain) + (" without user field" if plain != recommender else "")


def full_name(row: Row) -> str:
    """Recommender and method, as "DCN, no codes"; the method alone where it is its own recommender."""
    name = method_name(row.method)
    return f"{recommender_name(row.recommender)}, {name}" if row.recommender else name
