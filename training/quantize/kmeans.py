"""The quantizer `kmeans`: k-means of z in a metric that counts the directions which move clicks."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from userip.models.quantizers.codebook import Codebook, kmeans
from userip.training.methods.em_state import EMState
from userip.training.methods.table import ProfileTable
from userip.training.quantize.clicks import Clicks, fit_surrogate, new_surrogate
from userip.training.quantize.config import QuantizeConfig
from userip.training.quantize.m_step import figures_of, revived_codes
from userip.training.quantize.metric import click_directions, scale_of, with_clicks


def fit_kmeans(
    z: Tensor,
    table: ProfileTable,
    clicks: Clicks,
    sizes: Sequence[int],
    items: int,
    config: QuantizeConfig,
    seed: int,
) -> EMState:
    """S3: a surrogate on dense z shows which directions matter; codebooks start as k-means of z [n, J, D]."""
    surrogate, losses = None, []
    scales = [scale_of(z[:, j], config.metric) for j in range(z.shape[1])]
    if config.surrogate:
        surrogate = new_surrogate(z, items, seed)
        losses = fit_surrogate(surrogate, [], table, clicks, config, seed)
        if config.click_weight > 0:
            rows = np.random.default_rng([seed, 11]).permutation(len(clicks))[:20_000]
            dense = table[clicks.view[rows]].flatten(2)
            directions = click_directions(surrogate, clicks.item[torch.from_numpy(rows)], list(dense.unbind(1)))
            scales = [with_clicks(scale, directions[j], z[:, j], config.click_weight) for j, scale in enumerate(scales)]
    codebooks = []
    for j, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        if config.start == "uniform":
            generator = torch.Generator().manual_seed(seed)
            codes = (torch.rand(size, z.shape[2], generator=generator) * 2 - 1) / size
        else:
            codes = kmeans(z[:, j], size, scale, restarts=config.restarts, seed=seed)
        codebooks.append(Codebook(codes, scale, config.straight_through))
    drawn = codebooks if config.start == "kmeans" else []
    revived = [revived_codes(book, z[:, j], config) for j, book in enumerate(drawn)]
    if surrogate is not None and config.em_rounds:
        # From here on it reads codes, as the recommender will.
        losses += fit_surrogate(surrogate, codebooks, table, clicks, config, seed)
    return EMState(codebooks, surrogate, figures=figures_of(codebooks, z, losses, revived))
