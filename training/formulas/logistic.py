"""Logistic regression on few columns."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]


def logistic(features: Floats, labels: NDArray[np.bool_]) -> Floats:
    """Weights for columns [n, c], and a shift: float64 [c + 1]; zeros for the columns where all labels are one."""
    if len(np.unique(labels)) < 2:
        return np.zeros(features.shape[1] + 1)
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    found = LogisticRegression(C=100.0, max_iter=1000).fit((features - mean) / spread, labels)
    weights = found.coef_[0] / spread
    return np.append(weights, found.intercept_[0] - weights @ mean)


def logloss(logits: Floats, labels: NDArray[np.bool_]) -> float:
    """In nats."""
    return float(np.mean(np.logaddexp(0, np.where(labels, -logits, logits))))
