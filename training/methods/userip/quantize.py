"""The quantize step: codebooks, EM rounds, codes (docs/method.md#em, S3 to S5).

codebooks.safetensors  per facet `<facet>.codes` [K, m*d] and its metric `<facet>.scale` [r, m*d]
round-<k>.safetensors  what M step k left: with them a new user is folded in as the others were
z.npy                  the profiles that were quantized, if there was any round (else RUN/infer/z.npy)
codes.parquet          user_id, fold (-1: whole history), one u16 column per facet (65535: no history)
quantize.json          sizes, usage and perplexity of the codebooks, and the figures of every round

One round is M (surrogate and codebooks, all z fixed), then E (all z; codebooks and surrogate fixed). What an M step
leaves, and every batch of an E step, is on disk: a killed run goes on there and ends with the same bytes.
"""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.torch import save_file
from torch import Tensor

from userip.bank.record import UNKNOWN_CODE
from userip.training.config import TrainConfig
from userip.training.crossfit.histories import Histories, Ints
from userip.training.crossfit.views import CrossFitViews
from userip.training.data.dataset import Dataset
from userip.training.language.sequences import batches
from userip.training.methods.table import ProfileTable
from userip.training.methods.userip.infer import fill, group, open_language, open_start, shape_of
from userip.training.methods.userip.inference import Inference
from userip.training.methods.userip.m_step import Clicks, dense_m_step, first_m_step, next_m_step
from userip.training.methods.userip.state import EMState
from userip.training.quantize.codebook_usage import has_collapsed, perplexity

log = logging.getLogger(__name__)

CLICKS_PER_BATCH = 200_000


def run_quantize(dataset: Dataset, run: Path, out: Path, config: TrainConfig, seed: int) -> dict[str, Any]:
    """Fit codebooks on the inferred profiles, alternate, and write everybody's codes."""
    lm, reader, fillers = open_language(run, config)
    start, choice = open_start(run)
    views = CrossFitViews.of(dataset, config.infer.folds, seed, config.history.longest)
    groups = group(views, reader, config)
    clicks = Clicks(views)
    table = inferred = ProfileTable.open(run / "infer", "z")
    inference = Inference(lm, reader, fillers, start, choice, config, ())
    sizes = [facet.size for facet in config.facets]
    settings, items = config.quantize, dataset.items.height
    for number in range(settings.last_round + 1):
        last = number == settings.last_round
        file = out / f"round-{number}.safetensors"
        if not file.is_file():
            z = _train_profiles(table, views)
            if number < settings.dense_rounds:
                state = dense_m_step(z, table, clicks, items, settings, seed + number)
            elif number == settings.dense_rounds:
                state = first_m_step(z, table, clicks, sizes, items, settings, seed)
            else:
                state = next_m_step(inference.rounds[-1], z, table, clicks, settings, seed, last=last)
            if state.codebooks and not last:
                state = inference.balanced(state, table, views, groups)
            state.save(file)
        state = EMState.load(file)
        inference = inference.then(state)
        _say(number, state, config)
        if not last:
            table = _e_step(inference, number, table, inferred, views, groups, out, seed)
    figures = _write_codes(out, inference.rounds[-1], table, views, groups, config)
    figures |= {"folds": config.infer.folds, "fold_seed": seed, "split_hash": dataset.split_hash, "method": "userip"}
    figures["rounds"] = [state.figures for state in inference.rounds]
    (out / "quantize.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    _write_codebooks(out, inference.rounds[-1], config)
    _keep_last(out, settings.last_round)
    return {"facets": figures["facets"], "rounds": figures["rounds"]}


def _e_step(
    inference: Inference,
    number: int,
    table: ProfileTable,
    inferred: ProfileTable,
    views: CrossFitViews,
    groups: list[Ints],
    out: Path,
    seed: int,
) -> ProfileTable:
    """Move all views with the state of the last M step; batch by batch into a table of its own."""
    if not inference.rounds[-1].codebooks:  # clicks alone: no text is read, and batches can be large
        groups = batches(views.interactions(), 1, CLICKS_PER_BATCH)
    following = ProfileTable(out, f"z-{number + 1}", shape_of(views, inference.start), len(groups))

    def work(members: Ints, histories: Histories) -> Tensor:
        return inference.round(number, histories, members, table[members], inferred[members], seed)

    fill(following, groups, views, work, f"round {number + 1}")
    return following


def _keep_last(out: Path, last: int) -> None:
    """The profiles that were quantized stay, as z.npy; those of the rounds before go."""
    if last:
        (out / f"z-{last}.npy").rename(out / "z.npy")
    for leftover in out.glob("z-*"):
        leftover.unlink()


def _train_profiles(table: ProfileTable, views: CrossFitViews, most: int = 100_000) -> Tensor:
    """z of train users' whole histories, at most so many: [n, J, m*d]. Codebooks are fitted to these."""
    full = views.full[views.interactions()[views.full] > 0]
    if len(full) > most:
        full = np.sort(np.random.default_rng(0).permutation(full)[:most])
    return table[full].flatten(2)


def _say(number: int, state: EMState, config: TrainConfig) -> None:
    if not state.codebooks:
        log.info("round %d: loss of clicks %.4f nats", number, state.figures["surrogate_loss"][-1])
        return
    for facet, book in zip(config.facets, state.figures["codebooks"], strict=True):
        log.info("round %d: %s uses %.1f of %d codes", number, facet.name, book["perplexity"], facet.size)


def _write_codes(
    out: Path, state: EMState, table: ProfileTable, views: CrossFitViews, groups: list[Ints], config: TrainConfig
) -> dict[str, Any]:
    """Assign every view's codes, write the table, and report the usage among train users."""
    codes = np.empty((len(views), len(config.facets)), dtype=np.uint16)
    for members in groups:
        codes[members] = state.assign(table[members]).numpy()
    codes[views.interactions() == 0] = UNKNOWN_CODE
    users = pl.Series("user_id", views.users, dtype=pl.String).gather(views.user)
    columns = {facet.name: codes[:, j] for j, facet in enumerate(config.facets)}
    pl.DataFrame({"user_id": users, "fold": views.without, **columns}).write_parquet(out / "codes.parquet")
    facets = []
    for j, facet in enumerate(config.facets):
        mine = codes[views.full, j]
        share = np.bincount(mine[mine != UNKNOWN_CODE], minlength=facet.size) / max((mine != UNKNOWN_CODE).sum(), 1)
        in_use = perplexity(share)
        collapsed = has_collapsed(in_use, facet.size)
        if collapsed:
            log.warning(
                "WARNING: codebook %s has collapsed: perplexity %.2f of %d codes, smallest share %.3f. "
                "Its codes tell users apart poorly; give the facet a lower size (facets in --config), "
                "or raise infer.steps",
                facet.name, in_use, facet.size, share.min(),
            )  # fmt: skip
        if share.min() == 0 and not collapsed:
            log.warning("codebook %s: %d of %d codes are unused", facet.name, (share == 0).sum(), facet.size)
        facets.append(
            {
                "name": facet.name,
                "size": facet.size,
                "usage": [round(float(value), 6) for value in share],
                "perplexity": round(in_use, 4),
                "smallest_share": round(float(share.min()), 6),
                "collapsed": collapsed,
            }
        )
    return {"facets": facets}


def _write_codebooks(out: Path, state: EMState, config: TrainConfig) -> None:
    tensors: dict[str, Tensor] = {}
    for facet, book in zip(config.facets, state.codebooks, strict=True):
        tensors[f"{facet.name}.codes"] = book.codes.detach().contiguous()
        tensors[f"{facet.name}.scale"] = book.scale.contiguous()
    save_file(tensors, out / "codebooks.safetensors")
