"""The first codebooks of `kmeans`."""

import torch

from userip.models.quantizers.codebook import Codebook, kmeans
from userip.training.methods.em_state import EMState
from userip.training.quantize.clicks import fit_surrogate
from userip.training.quantize.figures import figures_of
from userip.training.quantize.kmeans.config import KMeansConfig
from userip.training.quantize.kmeans.m_step import revived_codes
from userip.training.quantize.metric import click_metric
from userip.training.quantize.protocol import Problem


def first_codebooks(problem: Problem, config: KMeansConfig) -> EMState:
    """S3: a surrogate on dense z shows which directions matter; codebooks start as k-means of z [n, J, D]."""
    z, seed = problem.z, problem.seed
    scales, surrogate, losses = click_metric(problem, config)
    codebooks = []
    for j, (facet, scale) in enumerate(zip(problem.facets, scales, strict=True)):
        if config.start == "uniform":
            generator = torch.Generator().manual_seed(seed)
            codes = (torch.rand(facet.size, z.shape[2], generator=generator) * 2 - 1) / facet.size
        else:
            codes = kmeans(z[:, j], facet.size, scale, restarts=config.restarts, seed=seed)
        codebooks.append(Codebook(codes, scale, config.straight_through))
    drawn = codebooks if config.start == "kmeans" else []
    revived = [revived_codes(book, z[:, j], config) for j, book in enumerate(drawn)]
    if surrogate is not None and config.em_rounds:
        # From here on it reads codes, as the recommender will.
        losses += fit_surrogate(surrogate, codebooks, problem, config, learn_codes=config.learns_codes)
    return EMState(codebooks, surrogate, figures=figures_of(codebooks, z, losses, revived))
