"""The run's own language model, opened to be tuned by a baseline. RUN/language itself stays as it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from userip.training.config import TrainConfig
from userip.training.data.dataset import Dataset
from userip.training.errors import SplitMismatchError
from userip.training.files import read_json
from userip.training.language.frozen import FrozenLM, torch_dtype
from userip.training.language.item_texts import ItemTexts, build_item_texts, item_strings
from userip.training.language.language import load_language
from userip.training.language.prompt_builder import PromptBuilder
from userip.training.threads import one_thread


@dataclass(frozen=True, eq=False)
class TunedLM:
    """A copy of the model with float32 weights, so that small steps are not rounded away.

    reader  how the run turns items into words        dtype  what the products are computed in
    """

    lm: FrozenLM
    reader: PromptBuilder
    dtype: torch.dtype

    @classmethod
    def open(cls, dataset: Dataset, run: Path, config: TrainConfig) -> "TunedLM":
        """Open RUN/language. Raises DataError for an unfinished run, SplitMismatchError for another split's."""
        folder = run / "language"
        if read_json(folder / "reader.json", "language").get("split_hash") != dataset.split_hash:
            raise SplitMismatchError(
                f"{folder}: was made from another split of the data than {dataset.path}; run `userip train-lm` again"
            )
        lm, reader, _ = load_language(folder, config.language.path, "float32")
        return cls(lm, reader, torch_dtype(config.language.dtype))

    def reduced(self) -> torch.autocast:
        """Products in `dtype`, for one forward pass: autocast keeps copies of weights, which a step makes stale."""
        return torch.autocast("cpu", dtype=self.dtype, enabled=self.dtype != torch.float32)

    def item_texts(self, item_tokens: int) -> ItemTexts:
        """Title and attributes of every item, as UserIP reads them, without a word on who liked it.

        A blank item follows the catalogue's rows: what is said of an item that the catalogue does not know.
        """
        reader = self.reader
        lines = item_strings(reader.items, reader.attributes[: reader.history.attributes])
        return build_item_texts(
            [*lines, ""], reader.encode,
            item_tokens=item_tokens, polarity=False, title_weight=1.0, polarity_weight=1.0,
        )  # fmt: skip


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """One thread and a generator of its own: the same seed gives the same bytes, and nobody else's draws change."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
