"""Which paths a recommender has beside its network, where they start, and its calibration (docs/method.md#paths)."""

from typing import Any, Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from userip.models.recommenders.layers import FieldNetwork
from userip.models.recommenders.paths import PathNetwork, Paths
from userip.training.quantize.starts import Starts
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.encoder import FieldEncoder, rows_of_values

SLOWER: Final = 0.1
SPREAD: Final = 0.05  # of item vectors that nobody knows a start for: at 0 on both sides nothing would ever move


def paths_of(encoder: FieldEncoder, config: RecommenderConfig, codes: CodeTable | None) -> Paths:
    """The paths that `config` asks for, over these fields; vectors are as long as the starts have them."""
    user = encoder.positions("code", "user")
    starts = codes.starts if codes is not None else None
    dot = (starts.dot if starts is not None else 0) or config.embedding
    return Paths(
        wide=tuple(range(len(encoder.fields))) if config.wide else (),
        user=user if config.dot else (),
        item=encoder.positions("item_row", "item") if config.dot else (),
        dot=dot if config.dot and user else 0,
        calibrated=config.calibrated,
    )


def set_starts(model: PathNetwork, encoder: FieldEncoder, starts: Starts | None) -> None:
    """Start the paths where the profile method knows, and the network at nothing: it has to earn its part."""
    (item,) = encoder.positions("item_row")
    if model.item is not None and (starts is None or not starts.numbers):
        begin = torch.randn(encoder.fields[item].size, model.paths.dot) * SPREAD
        model.item.set_start(item, begin.index_fill(0, torch.tensor([0]), 0.0))
    if starts is None:
        return
    values = encoder.fields[item].values or ()
    known = rows_of_values(pl.Series(values, dtype=pl.String), tuple(starts.items)) - 1
    bias = starts.bias[known]
    if model.wide is not None:
        # Row 0, an item that nobody has met, starts at the mean of those that are met least.
        rare = bias[bias.argsort()[: max(len(bias) // 2, 1)]].mean() if len(bias) else torch.tensor(0.0)
        model.wide.set_start(item, torch.cat([rare[None], bias])[:, None])
    if model.item is not None and starts.dot:
        model.item.set_start(item, torch.cat([torch.zeros(1, starts.dot), starts.vectors[known]]))
    for place in encoder.positions("code"):
        name = encoder.fields[place].name
        if name not in starts.numbers:
            continue
        if model.wide is not None:
            model.wide.set_start(place, torch.cat([torch.zeros(1), starts.numbers[name]])[:, None])
        if model.user is not None and starts.dot:
            model.user.set_start(place, torch.cat([torch.zeros(1, starts.dot), starts.code_vectors[name]]))
    if starts.numbers and model.wide is not None:
        model.start_alone()


@torch.no_grad()
def settle_unmet(model: nn.Module, encoder: FieldEncoder, met: pl.Series) -> None:
    """Give items without a train row what the network has learnt of unknown ones: their own embedding is as drawn."""
    (item,) = encoder.positions("item_row")
    values = encoder.fields[item].values or ()
    unmet = ~pl.Series(values, dtype=pl.String).is_in(met.unique().implode())
    rows = torch.from_numpy(np.flatnonzero(unmet.to_numpy()) + 1)
    for table in model.modules():
        if isinstance(table, FieldNetwork) and len(rows):
            begin = int(table.offsets[item])
            table.embedding.weight[begin + rows] = table.embedding.weight[begin].clone()


def path_groups(model: PathNetwork, config: RecommenderConfig) -> list[dict[str, Any]]:
    """The optimiser's groups: starts are close to the best already, so what paths learn beside them goes slower."""
    paths = [table.delta for table in (model.wide, model.user, model.item) if table is not None]
    rest = [*model.network.parameters(), model.gate]
    return [{"params": rest}, {"params": paths, "lr": config.lr * (SLOWER if model.started else 1.0)}]


def calibrate(model: PathNetwork, rows: Tensor, labels: NDArray[np.bool_], steps: int = 25) -> None:
    """Fit scale and shift of the logits to validation rows, by Newton's method on the log loss.

    A prior N(1, .5^2) on the scale keeps few rows from saying much.
    """
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(piece) for piece in torch.split(rows, 65_536)]).double().numpy()
    x = np.stack([logits, np.ones(len(logits))], axis=1)
    precision, start = np.diag([4.0, 1e-6]), np.array([1.0, 0.0])
    weights = start.copy()
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-(x @ weights)))
        slope = x.T @ (labels - chance) - precision @ (weights - start)
        weights = weights + np.linalg.solve((x * (chance * (1 - chance))[:, None]).T @ x + precision, slope)
    model.calibration.copy_(torch.from_numpy(weights).float())
