"""Everything that a finished run can be asked to explain, from its folder and its data set."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from userip.bank.record import codes_of_rows
from userip.evaluation.explain.attention import Attention, attention_to_content
from userip.evaluation.explain.codes import FacetExplanation, explain_codes
from userip.evaluation.explain.maps import FacetMap, code_map, read_codebooks
from userip.evaluation.explain.words import NearestWords, WholeWords, nearest_words
from userip.training.config import load_config
from userip.training.crossfit.histories import Ints, histories_of
from userip.training.crossfit.views import FULL
from userip.training.data.dataset import Dataset
from userip.training.errors import DataError
from userip.training.methods.protocol import SoftPrompts
from userip.training.methods.table import ProfileTable
from userip.training.recommender.codes import CodeTable

RANDOM, SHARED, TUNED = "random", "shared prompt", "own z"
PROFILES = 20_000  # users that z is looked at of


@dataclass(frozen=True)
class FacetWords:
    """Nearest words of every code's centre (one per soft token), and of the shared prompt that profiles start at."""

    facet: str
    codes: tuple[NearestWords, ...]
    shared: tuple[NearestWords, ...]


@dataclass(frozen=True)
class RunExplanation:
    """codes: Table 5; words: soft tokens in words; attention: Figure 7; maps: users and codes on a plane.

    words is empty and attention None for a method without soft prompts.
    """

    codes: tuple[FacetExplanation, ...]
    words: tuple[FacetWords, ...]
    attention: Attention | None
    maps: tuple[FacetMap, ...]


def explain_run(
    dataset: Dataset, run: Path, *, users: int = 200, items: int = 16, most: int = 2000, seed: int = 0
) -> RunExplanation:
    """Explain RUN, whose steps language, infer and quantize are done. Train users and train rows alone are looked at.

    users, items: attention is measured on so many users, `items` interactions each; most: users on a map.
    z is what was quantized: that of the infer step, or of the last round of the quantize step.
    Raises DataError or SplitMismatchError for a run that is not finished or of another data set.
    """
    config = load_config(file=run / "config.toml", environment={})
    codes = CodeTable.read(run / "quantize", dataset.split_hash)
    method = config.profile_method
    facets = tuple(config.sizes)
    codebooks = read_codebooks(run / "quantize", facets)
    names, rows = _train_views(dataset, run, seed)
    moved = (run / "quantize" / "z.npy").is_file()  # by rounds of quantization
    z = ProfileTable.open(run / ("quantize" if moved else "infer"), "z")[rows]
    order = [sorted(codes.sizes).index(facet) for facet in facets]
    found = codes_of_rows(codes.rows_of(names)[:, order])
    maps = code_map(z, found, codebooks, most=most, seed=seed)
    prompts = method.soft_prompts(method.open(run, run / "infer", config.profile, seed))
    if prompts is None:
        return RunExplanation(explain_codes(dataset, codes), (), None, maps)
    vocabulary = WholeWords.of(prompts.language.lm, prompts.language.prompts)
    centres = {name: book.codes.detach().reshape(book.size, *z.shape[2:]) for name, book in codebooks.items()}
    words = tuple(
        _words(facet, vocabulary, centres[facet], prompts.shared[j], z[:, j], seed) for j, facet in enumerate(facets)
    )
    attention = _attention(dataset, prompts, names, z, users, items, seed)
    return RunExplanation(explain_codes(dataset, codes), words, attention, maps)


def _train_views(dataset: Dataset, run: Path, seed: int) -> tuple[pl.Series, Ints]:
    """Train users, at most `PROFILES`, and the rows of z that hold their whole histories, ascending."""
    file = run / "infer" / "views.parquet"
    if not file.is_file():
        raise DataError(f"{file}: not found; run `userip infer` first")
    views = pl.read_parquet(file).with_row_index("row").filter(pl.col("fold") == FULL)
    views = views.join(dataset.rows("train").select("user_id").unique(), on="user_id", how="semi").sort("row")
    if views.is_empty():
        raise DataError(
            f"{file}: none of its users has train rows in {dataset.name}; it was made from another data set"
        )
    drawn = np.sort(np.random.default_rng([seed, 14]).permutation(views.height)[:PROFILES])
    views = views[drawn]
    return views["user_id"], views["row"].to_numpy().astype(np.int64)


def _words(
    facet: str, vocabulary: WholeWords, centres: Tensor, shared: Tensor, profiles: Tensor, seed: int
) -> FacetWords:
    """centres [K, m, d], shared [m, d], profiles [U, m, d]."""
    K, m, _ = centres.shape
    tokens = ["" if m == 1 else f", token {k}" for k in range(m)]
    cloud = profiles.flatten(0, 1)
    return FacetWords(
        facet,
        nearest_words(
            vocabulary, centres.flatten(0, 1), [f"{facet} {code}{token}" for code in range(K) for token in tokens],
            profiles=cloud, seed=seed,
        ),
        nearest_words(vocabulary, shared, [f"{facet}, shared prompt{token}" for token in tokens], seed=seed),
    )  # fmt: skip


def _attention(
    dataset: Dataset,
    prompts: SoftPrompts,
    names: pl.Series,
    z: Tensor,
    users: int,
    items: int,
    seed: int,
) -> Attention:
    """The same histories with random slots (as the paper starts), the shared prompt, and every user's own z."""
    rows = dataset.rows("train")
    histories = histories_of(rows, prompts.language.prompts.items, names.to_list())
    histories = histories.last(prompts.language.prompts.history.longest)
    some = np.flatnonzero(histories.lengths > 0)
    some = np.sort(np.random.default_rng([seed, 15]).permutation(some)[:users])
    shape = z[some].shape
    draw = np.random.default_rng([seed, 16])
    fills = {RANDOM: torch.from_numpy(draw.uniform(-0.1, 0.1, shape).astype(np.float32))}
    if not prompts.random:  # a run that starts at random has no shared prompt
        fills[SHARED] = prompts.shared.expand(shape)
    fills[TUNED] = z[some]
    lm, builder, _ = prompts.language
    return attention_to_content(lm, builder, histories.of(some).pick(items, seed), fills, seed=seed)
