"""The quantize step: codebooks and everybody's codes; rounds with the method where they are asked for.

codebooks.safetensors  per code `<code>.codes` [K, m*d] and its facet's metric `<code>.scale` [r, m*d]
round-<k>.safetensors  what M step k left: with them a new user is folded in as the others were
z.npy                  the profiles that were quantized, if there was any round (else RUN/infer/z.npy)
codes.parquet          user_id, fold (-1: whole history), one u16 column per code (65535: no history)
quantize.json          sizes, usage and perplexity of the codebooks, and the figures of every round
starts.safetensors     what a recommender may start from, where the method knows (`training.quantize.starts`)

One round is M (surrogate and codebooks, all z fixed), then E (all z, by the method; codebooks and surrogate fixed).
What an M step leaves, and every batch of an E step, is on disk: a killed run goes on there and ends with the same
bytes. Without rounds the method is not opened, and no language model is loaded.
"""

import json
import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from userip.training.crossfit.histories import Histories, Ints
from userip.training.crossfit.views import CrossFitViews
from userip.training.data.dataset import Dataset
from userip.training.language.sequences import batches
from userip.training.methods.config import ProfileConfig
from userip.training.methods.em_state import EMState
from userip.training.methods.protocol import Facet, Refiner
from userip.training.methods.starts import ItemStarts
from userip.training.methods.step import fill, views_of
from userip.training.methods.table import ProfileTable
from userip.training.quantize import QUANTIZERS
from userip.training.quantize.clicks import Clicks, fit_surrogate, new_surrogate
from userip.training.quantize.codes import write_codes
from userip.training.quantize.config import QuantizeConfig
from userip.training.quantize.figures import figures_of
from userip.training.quantize.protocol import Alternating, Problem, Quantizer
from userip.training.quantize.starts import starts_of

log = logging.getLogger(__name__)

CLICKS_PER_BATCH: Final = 200_000


def run_quantize(
    dataset: Dataset, run: Path, out: Path, profile: ProfileConfig, quantize: QuantizeConfig, seed: int
) -> dict[str, Any]:
    """Fit codebooks on the inferred profiles, alternate, and write everybody's codes."""
    work = Quantizing(dataset, run, out, profile, quantize, seed)
    quantizer, facets = work.quantizer, work.quantizer.codes(profile.profile_facets, quantize)
    table, states = work.inferred, list[EMState]()
    for number in range(quantize.last_round + 1):
        file = out / f"round-{number}.safetensors"
        if not file.is_file():
            work.m_step(number, table, states).save(file)
        states.append(EMState.load(file, quantizer.open))
        _say(number, states[-1], facets)
        if number < quantize.last_round:
            table = work.e_step(number, states[-1], table)
    figures = write_codes(out, states[-1], table, work.views, facets)
    figures |= {"folds": profile.infer.folds, "fold_seed": seed, "split_hash": dataset.split_hash}
    figures |= {"method": profile.method, "rounds": [state.figures for state in states]}
    (out / "quantize.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    _write_codebooks(out, states[-1], facets)
    if (known := ItemStarts.read(run / "infer")) is not None:
        starts_of(known, profile.profile_facets, states[-1], facets, dataset.items["item_id"]).write(out)
    _keep_last(out, quantize.last_round)
    return {"facets": figures["facets"], "rounds": figures["rounds"]}


@dataclass(frozen=True, eq=False)
class Quantizing:
    """A quantize step under way."""

    dataset: Dataset
    run: Path
    out: Path
    profile: ProfileConfig
    settings: QuantizeConfig
    seed: int

    @property
    def quantizer(self) -> Quantizer:
        """The entry of QUANTIZERS."""
        return QUANTIZERS[self.settings.kind]

    @cached_property
    def views(self) -> CrossFitViews:
        """The views of RUN/infer."""
        return views_of(self.dataset, self.profile, self.seed)

    @cached_property
    def inferred(self) -> ProfileTable:
        """z of RUN/infer."""
        return ProfileTable.open(self.run / "infer", "z")

    @cached_property
    def clicks(self) -> Clicks:
        """Train rows for the surrogate."""
        return Clicks(self.views)

    @cached_property
    def refiner(self) -> Refiner:
        """The method, opened to move profiles: the only thing here that may load a language model."""
        opened = self.profile.profile_method.open(self.run, self.run / "infer", self.profile, self.seed)
        assert isinstance(opened, Refiner)
        return opened

    def m_step(self, number: int, table: ProfileTable, before: list[EMState]) -> EMState:
        """Surrogate alone, then the first codebooks, then those that follow the profiles."""
        settings, last = self.settings, number == self.settings.last_round
        problem = self._problem(table)
        if number < settings.dense_rounds:
            state = dense_m_step(replace(problem, seed=self.seed + number), settings)
        elif number == settings.dense_rounds:
            state = self.quantizer.fit(problem, settings)
        else:
            assert isinstance(self.quantizer, Alternating)
            state = self.quantizer.following(before[-1], problem, settings, last=last)
        if state.codebooks and not last:
            state = self.refiner.balanced(state, table, self.views, settings)
        return state

    def e_step(self, number: int, state: EMState, table: ProfileTable) -> ProfileTable:
        """Move all views with the state of the last M step; batch by batch into a table of its own."""
        if state.codebooks:
            groups = self.refiner.batches(self.views)
        else:  # clicks alone: no text is read, and batches can be large
            groups = batches(self.views.interactions(), 1, CLICKS_PER_BATCH)
        shape = (len(self.views), *self.refiner.shape)
        following = ProfileTable(self.out, f"z-{number + 1}", shape, len(groups))

        def work(members: Ints, histories: Histories) -> Tensor:
            z, inferred = table[members], self.inferred[members]
            keys = self.views.keys(members)
            return self.refiner.refine(number, state, histories, keys, z, inferred, self.settings)

        fill(following, groups, self.views, work, f"round {number + 1}")
        return following

    def _problem(self, table: ProfileTable, most: int = 100_000) -> Problem:
        """z [n, J, m*d] of train users' whole histories, at most so many: codebooks are fitted to these."""
        full = self.views.full[self.views.interactions()[self.views.full] > 0]
        if len(full) > most:
            full = np.sort(np.random.default_rng(0).permutation(full)[:most])
        z, items = table[full].flatten(2), self.dataset.items.height
        return Problem(z, self.profile.profile_facets, table, self.clicks, items, self.seed)


def dense_m_step(problem: Problem, config: QuantizeConfig) -> EMState:
    """A surrogate on dense z, for an E step on clicks: there are no codebooks yet."""
    surrogate = new_surrogate(problem.z, problem.items, problem.seed)
    losses = fit_surrogate(surrogate, [], problem, config)
    return EMState([], surrogate, figures=figures_of([], problem.z, losses, []))


def _say(number: int, state: EMState, facets: tuple[Facet, ...]) -> None:
    if not state.codebooks:
        log.info("round %d: loss of clicks %.4f nats", number, state.figures["surrogate_loss"][-1])
        return
    for facet, book in zip(facets, state.figures["codebooks"], strict=True):
        log.info("round %d: %s uses %.1f of %d codes", number, facet.name, book["perplexity"], facet.size)


def _write_codebooks(out: Path, state: EMState, facets: tuple[Facet, ...]) -> None:
    tensors: dict[str, Tensor] = {}
    levels = [(level, book.scale) for book in state.codebooks for level in book.levels()]
    for facet, (codes, scale) in zip(facets, levels, strict=True):
        tensors[f"{facet.name}.codes"] = codes.contiguous()
        tensors[f"{facet.name}.scale"] = scale.clone()
    save_file(tensors, out / "codebooks.safetensors")


def _keep_last(out: Path, last: int) -> None:
    """The profiles that were quantized stay, as z.npy; those of the rounds before go."""
    if last:
        (out / f"z-{last}.npy").rename(out / "z.npy")
    for leftover in out.glob("z-*"):
        leftover.unlink()
