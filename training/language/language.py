"""A frozen language model and everything that histories are read with."""

import json
from pathlib import Path
from typing import NamedTuple

import polars as pl

from userip.training.errors import DataError
from userip.training.language.config import FacetConfig, HistoryConfig
from userip.training.language.frozen import FrozenLM
from userip.training.language.prompt_builder import PromptBuilder
from userip.training.language.slot_initializer import SlotInitializer


class Language(NamedTuple):
    """The model, the prompts that it reads, and the words that slots begin with: all of one catalogue."""

    lm: FrozenLM
    prompts: PromptBuilder
    slots: SlotInitializer


def load_language(directory: Path, path: str | None, dtype: str) -> Language:
    """Open RUN/language. Raises DataError for a folder that is not complete."""
    try:
        said = json.loads((directory / "reader.json").read_bytes())
        catalogue = pl.read_parquet(directory / "catalogue.parquet")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: not found; run `userip train-lm` again") from None
    lm = FrozenLM.load(path or directory, dtype)
    facets = tuple(FacetConfig.model_validate(facet) for facet in said["facets"])
    history = HistoryConfig.model_validate(said["history"])
    attributes = tuple(said["attributes"])
    prompts = PromptBuilder(catalogue, attributes, lm.encode, lm.bos, facets, history)
    try:
        slots = SlotInitializer.restore(facets, catalogue, attributes, lm.encode, said["fillers"])
    except KeyError as missing:
        file = directory / "reader.json"
        raise DataError(
            f"{file}: fillers: no {missing}; it is of an earlier version: run `userip train-lm` again"
        ) from None
    return Language(lm, prompts, slots)
