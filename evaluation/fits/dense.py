"""The ablation without a quantizer: the recommender reads z itself (docs/method.md#other-baselines; Table 3).

    x_0 = [e_user; e_item; ..; P_1 z_1; ..; P_J z_J]     P_j: R^{m d} -> R^{embedding}, z standardised

A row's z stands in a table, as a code would: train rows take the z inferred without their fold.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from userip.models.recommenders.dcn import DCN
from userip.models.recommenders.layers import NetworkShape
from userip.training.crossfit.folds import fold_of_rows
from userip.training.crossfit.views import FULL
from userip.training.data.dataset import Dataset
from userip.training.errors import DataError
from userip.training.methods.table import ProfileTable
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.encoder import FieldEncoder
from userip.training.recommender.fit import FieldDropout, encode_rows, fit_network, predict_rows, shape_of
from userip.training.threads import one_thread


class DenseDCN(DCN):
    """A DCN over rows int64 [B, F + 1]: the fields, then the line of the table of profiles; line 0 is nobody's.

    table  float32 [V + 1, J, D], standardised, line 0 = 0; not trained and not part of the weights
    """

    table: Tensor

    def __init__(self, shape: NetworkShape, table: Tensor) -> None:
        facets = table.shape[1]
        # A facet's part of x_0 is as wide as an embedding: a field of one row makes the room.
        super().__init__(replace(shape, field_sizes=(*shape.field_sizes, *([1] * facets))))
        self.fields = len(shape.field_sizes)
        self.project = nn.ModuleList(nn.Linear(table.shape[2], shape.embedding) for _ in range(facets))
        self.register_buffer("table", table, persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows int64 [B, F + 1] -> logits float32 [B]."""
        z = self.table[rows[:, -1]]  # [B, J, D]
        nobody = rows.new_zeros((len(rows), z.shape[1]))
        embedded = self.embed(torch.cat([rows[:, : self.fields], nobody], dim=1))
        parts = [project(z[:, j]) for j, project in enumerate(self.project)]
        width = self.fields * self.shape.embedding
        return self.forward_embedded(torch.cat([embedded[:, :width], *parts], dim=1))


@dataclass(frozen=True)
class FittedDense:
    """The fitted network, and who stands in which line of its table."""

    model: DenseDCN
    encoder: FieldEncoder
    lines: pl.DataFrame
    dataset: Dataset

    def rows(self, interactions: pl.DataFrame, folds: pl.Series | None = None) -> Tensor:
        """Rows int64 [n, F + 1]; z of whole histories, or of those without each row's fold."""
        encoded = encode_rows(interactions, self.dataset, self.encoder, None)
        return torch.from_numpy(np.concatenate([encoded, _line_of(interactions, self.lines, folds)], axis=1))

    def predict(self, interactions: pl.DataFrame) -> NDArray[np.float32]:
        """Click probabilities float32 [n] of interactions, in their order."""
        with one_thread():
            return predict_rows(self.model, self.rows(interactions))


def fit_dense(dataset: Dataset, run: Path, config: RecommenderConfig, seed: int) -> FittedDense:
    """Fit on the train rows with the z of RUN/infer, stop on the valid rows. Raises DataError for a run without z."""
    codes = CodeTable.read(run / "quantize", dataset.split_hash)
    file = run / "infer" / "views.parquet"
    if not file.is_file():
        raise DataError(f"{file}: not found; run `userip infer` first")
    lines = pl.read_parquet(file).select("user_id", "fold").with_row_index("line", offset=1)
    encoder = FieldEncoder.fit(dataset, {}, user_field=config.user_field)
    train, valid = dataset.rows("train"), dataset.rows("valid")
    whole = (lines["fold"] == FULL) & lines["user_id"].is_in(train["user_id"].unique().implode())
    table = _standardised(ProfileTable.open(run / "infer", "z"), lines.height, whole.to_numpy())
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fitted = FittedDense(DenseDCN(shape_of(encoder, config, None)[0], table), encoder, lines, dataset)
        folds = fold_of_rows(train, codes.folds, codes.fold_seed) if codes.folds > 1 else None
        labels = torch.tensor(train["label"].to_numpy(), dtype=torch.float32)
        fit_network(
            fitted.model, FieldDropout(encoder, config, ("user",)), (fitted.rows(train, folds), labels),
            (fitted.rows(valid), valid["label"].to_numpy()), config=config, label=None,
        )  # fmt: skip
    return fitted


def _line_of(interactions: pl.DataFrame, lines: pl.DataFrame, folds: pl.Series | None) -> NDArray[np.int64]:
    """Lines int64 [n, 1] of the table."""
    fold = pl.lit(FULL, pl.Int8) if folds is None else folds.cast(pl.Int8).alias("fold")
    keys = interactions.select("user_id").with_columns(fold=fold)
    known = lines.with_columns(pl.col("fold").cast(pl.Int8))
    found = keys.join(known, on=["user_id", "fold"], how="left", maintain_order="left")["line"]
    return found.cast(pl.Int64).fill_null(0).to_numpy()[:, None]


def _standardised(z: ProfileTable, views: int, fitted: NDArray[np.bool_]) -> Tensor:
    """[V + 1, J, D], each dimension with mean 0 and variance 1 over train users' whole histories."""
    values = z[np.arange(views)].flatten(2)
    few = values[torch.from_numpy(fitted)]
    values = (values - few.mean(0)) / few.std(0, correction=0).clamp(min=1e-6)
    return torch.cat([torch.zeros_like(values[:1]), values])
