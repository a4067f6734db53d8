"""Everything between interactions and tensors, for one language model and one catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from userip.models.prompt.soft_prompt import Prompt, build_prompt
from userip.training.crossfit.histories import Histories
from userip.training.errors import ConfigError
from userip.training.language.config import FacetConfig, HistoryConfig
from userip.training.language.item_texts import DISLIKED, LIKED, ItemTexts, build_item_texts, item_strings
from userip.training.language.sequences import Batch, build_batch
from userip.training.language.slot_initializer import Encode, filler_vocabulary


@dataclass(frozen=True, eq=False)
class PromptBuilder:
    """Turns histories into batches: the prompt, the item texts and the mask rule.

    items: the catalogue; attributes: its descriptive columns; encode: text -> token ids; bos: first id.
    """

    items: pl.DataFrame
    attributes: tuple[str, ...]
    encode: Encode
    bos: int
    facets: tuple[FacetConfig, ...]
    history: HistoryConfig
    soft_tokens: int = 1

    @cached_property
    def prompt(self) -> Prompt:
        """[BOS] n_1 z_1 .. n_J z_J T."""
        names = [self.encode(facet.phrase) for facet in self.facets]
        return build_prompt(self.bos, names, self.encode(self.history.task), self.soft_tokens)

    @cached_property
    def texts(self) -> ItemTexts:
        """Tokens of the catalogue with the weights of inference."""
        return self.texts_weighted(self.history.title_weight, self.history.polarity_weight)

    def texts_weighted(self, title: float, polarity: float) -> ItemTexts:
        """Tokens of the catalogue with other weights."""
        return build_item_texts(
            item_strings(self.items, self.attributes[: self.history.attributes]),
            self.encode,
            item_tokens=self.history.item_tokens,
            polarity=self.history.polarity,
            title_weight=title,
            polarity_weight=polarity,
        )

    def batch(self, histories: Histories, texts: ItemTexts | None = None) -> Batch:
        """Prompt and history of every user."""
        return build_batch(self.prompt, texts or self.texts, histories, factorised=self.history.factorised)

    def check_fits(self, longest: int) -> None:
        """Raise ConfigError where a sequence could be longer than the model's `longest` positions."""
        item = self.texts.tokens.shape[2]
        items = 1 if self.history.factorised else self.history.longest
        needed = len(self.prompt.tokens) + items * item
        if needed > longest:
            raise ConfigError(
                f"history.item_tokens={self.history.item_tokens}: prompt and history need {needed} positions, "
                f"the language model has {longest}; lower it, or shorten the facets' phrases"
            )


def tokenizer_texts(
    items: pl.DataFrame, attributes: Sequence[str], facets: Sequence[FacetConfig], history: HistoryConfig
) -> list[str]:
    """What the small model's tokenizer is trained on: catalogue, prompt and slot words."""
    fixed = [facet.phrase for facet in facets] + [history.task, LIKED, DISLIKED, ":", *filler_vocabulary()]
    values = sorted(
        {word for name in attributes for cell in items[name].drop_nulls().to_list() for word in cell.split("|")}
    )
    # The fixed words stand there often enough to become single tokens whatever the catalogue's size.
    return item_strings(items, attributes[: history.attributes]) + [" " + v for v in values] + fixed * 100
