"""KAR-style: a DCN over the usual fields that also reads what a user's history and an item say.

See docs/method.md#kar-baseline. Frozen sentence vectors of a user's and an item's text go through a hybrid-expert
adaptor that is trained with the DCN, end to end on the click loss. It is KAR in small: a template in the place of the
large model's answers, MiniLM in the place of BERT, our DCN's widths. Its network and serving modes are in
`models.recommenders.kar`, `models.recommenders.kar_graph`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from userip.evaluation.baselines.text_encoder import MINILM, TextEncoder
from userip.evaluation.baselines.text_vectors import TextVectors, text_vectors
from userip.models.recommenders.kar import AdaptorShape, KarDCN, KarShape
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.encoder import FieldEncoder
from userip.training.recommender.fit import (
    Epoch,
    FieldDropout,
    encode_rows,
    fit_network,
    labelled_rows,
    predict_rows,
)
from userip.training.threads import one_thread

Count = Annotated[int, Field(ge=1)]


class KarConfig(BaseModel):
    """How texts become vectors and vectors enter the network. Frozen; an unknown key is refused.

    encoder       `minilm` (the extra `baselines`), or the folder or hub name of a Hugging Face encoder
    max_tokens    of a text, further ones are cut off          budget  characters of titles in a user's text
    folds         that a train row's text leaves its own out of, two or more; 0 shows the leak and nothing else
    shared, dedicated, hidden, out                             experts of all, of each branch, and their widths
    lr, weight_decay                                           of the adaptor; the rest has the recommender's.
                  Chosen by validation AUC on movietweetings-100k and a part of xwines-slim, where .003 for the
                  rate and .001 for the decay differed by less than the seeds do
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = MINILM
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    max_tokens: Annotated[int, Field(ge=8)] = 256
    budget: Annotated[int, Field(ge=0)] = 400
    folds: Annotated[int, Field(ge=0, le=127)] = 2
    fold_seed: int = 0
    shared: Count = 2
    dedicated: Count = 5
    hidden: Count = 128
    out: Count = 32
    lr: Annotated[float, Field(gt=0.0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0


@dataclass(frozen=True)
class FittedKar:
    """A fitted network with what its rows are looked up in. Users are known by their text, met or not."""

    model: KarDCN
    encoder: FieldEncoder
    vectors: TextVectors
    dataset: Dataset
    log: tuple[Epoch, ...]

    def rows(self, interactions: pl.DataFrame) -> NDArray[np.int64]:
        """Rows int64 [n, F + 2] of interactions, every user with the text of the whole history."""
        fields = encode_rows(interactions, self.dataset, self.encoder, None)
        return np.concatenate([fields, self.vectors.rows_of(interactions)], axis=1)

    def predict(self, interactions: pl.DataFrame) -> NDArray[np.float32]:
        """Click probabilities float32 [n] of interactions, in their order."""
        with one_thread():
            return predict_rows(self.model, torch.from_numpy(self.rows(interactions)))


def fit_kar_style(
    dataset: Dataset,
    directory: Path,
    config: RecommenderConfig,
    seed: int,
    *,
    kar: KarConfig | None = None,
    vectors: TextVectors | None = None,
) -> FittedKar:
    """Fit on the train rows, stop on the valid rows, as `fit_recommender` does; text vectors lie in `directory`.

    `vectors` are those of `kar_vectors`, which is called where they are not given; several seeds share them.
    Raises ConfigError for codes, which KAR has not, and EmptyDataError when no AUC can be taken.
    """
    kar = kar or KarConfig()
    if config.codes != "none":
        raise ConfigError(f"codes: {config.codes!r} is not for KAR-style, which has no codes; set 'none'")
    train, valid = labelled_rows(dataset, "train"), labelled_rows(dataset, "valid")
    vectors = vectors or kar_vectors(dataset, directory, kar)
    encoder = FieldEncoder.fit(dataset, {}, user_field=config.user_field)

    def rows_of(part: pl.DataFrame, *, cross_fitted: bool) -> torch.Tensor:
        texts = vectors.rows_of(part, cross_fitted=cross_fitted)
        return torch.from_numpy(np.concatenate([encode_rows(part, dataset, encoder, None), texts], axis=1))

    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = KarDCN(_shape(encoder, config, kar, vectors), *map(torch.from_numpy, (vectors.users, vectors.items)))
        adaptor = list(model.adaptor.parameters())
        own = {id(parameter) for parameter in adaptor}
        log = fit_network(
            model,
            FieldDropout(encoder, config, ("user", "item")),
            (rows_of(train, cross_fitted=True), torch.tensor(train["label"].to_numpy(), dtype=torch.float32)),
            (rows_of(valid, cross_fitted=False), valid["label"].to_numpy()),
            config=config,
            label=None,
            groups=[
                {"params": [parameter for parameter in model.parameters() if id(parameter) not in own]},
                {"params": adaptor, "lr": kar.lr, "weight_decay": kar.weight_decay},
            ],
        )
    return FittedKar(model, encoder, vectors, dataset, log)


def kar_vectors(dataset: Dataset, directory: Path, kar: KarConfig) -> TextVectors:
    """Encode the data set's texts as `kar` says, or read them from `directory`. Needs no seed and no label of test."""
    if kar.folds == 1:
        raise ConfigError("folds: 1 leaves no other fold to write a text from; set 2 or more")
    encoder = TextEncoder.load(kar.encoder, max_tokens=kar.max_tokens, dtype=kar.dtype)
    return text_vectors(dataset, encoder, directory, folds=kar.folds, fold_seed=kar.fold_seed, budget=kar.budget)


def _shape(encoder: FieldEncoder, config: RecommenderConfig, kar: KarConfig, vectors: TextVectors) -> KarShape:
    adaptor = AdaptorShape(vectors.users.shape[1], kar.shared, kar.dedicated, kar.hidden, kar.out)
    return KarShape(encoder.sizes, config.embedding, config.cross_layers, config.mlp, config.dropout, adaptor=adaptor)
