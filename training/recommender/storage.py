"""A fitted recommender on disk: `recommender.safetensors` (weights, settings, seed) and `encoder.json`."""

import json
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from userip.models.recommenders import RECOMMENDERS
from userip.models.recommenders.paths import build
from userip.training.data.dataset import Dataset
from userip.training.errors import DataError
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.encoder import FieldEncoder
from userip.training.recommender.fit import FittedRecommender, choose_codes, shape_of

WEIGHTS: Final = "recommender.safetensors"


def write_recommender(fitted: FittedRecommender, directory: Path) -> None:
    """Write both files. The same recommender gives the same bytes."""
    settings = {"config": fitted.config.model_dump(mode="json"), "seed": fitted.seed}
    # One entry only: safetensors writes several in any order, and the bytes would differ from run to run.
    content = save(fitted.model.state_dict(), metadata={"settings": json.dumps(settings)})
    (directory / WEIGHTS).write_bytes(content)
    fitted.encoder.write(directory)


def read_recommender(directory: Path, dataset: Dataset, codes: CodeTable | None) -> FittedRecommender:
    """Read what `write_recommender` wrote; `codes` are those of the quantize step, controls are drawn again.

    Raises DataError naming the file, SplitMismatchError when it was fitted on another split.
    """
    encoder = FieldEncoder.read(directory, dataset.split_hash)
    file = directory / WEIGHTS
    try:
        with safe_open(file, framework="pt") as tensors:
            settings = json.loads((tensors.metadata() or {})["settings"])
            state = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118  (not a dict)
        config = RecommenderConfig.model_validate_json(json.dumps(settings["config"]))
        seed = int(settings["seed"])
        chosen = choose_codes(codes, config, seed)
        model = build(RECOMMENDERS[config.recommender].network, *shape_of(encoder, config, chosen))
        model.load_state_dict(state)
    except FileNotFoundError:
        raise DataError(f"{file}: not found; run `userip fit` first") from None
    except (SafetensorError, KeyError, ValidationError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file}: not a recommender of these fields ({reason}); run `userip fit` again") from None
    return FittedRecommender(model.eval(), encoder, chosen, config, dataset, seed, ())
