"""Settings of the language model and of the text that it reads."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0.0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FacetConfig(_Frozen):
    """One facet of the profile: a name in the prompt, soft tokens behind it, a codebook.

    phrase   n_j of Eq. 3, in words: what stands before the soft tokens.
    size     K_j, the codebook's number of codes.
    filler   the words that fill the slot when the small model is trained and where inference starts:
             `attributes`: the catalogue's attributes that the user likes more often than others do;
             `generosity`: words between harsh and generous, icy and ardent, by the user's judgements against others';
             `none`: no words; inference starts at the shared prompt.
    columns  for `attributes`: the catalogue's columns to take them from; default: all that describe items.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    phrase: Annotated[str, Field(min_length=1)]
    size: Annotated[int, Field(ge=1, le=65535)] = 16
    filler: Literal["attributes", "generosity", "none"] = "none"
    columns: tuple[str, ...] = ()


FACETS: Final = (
    FacetConfig(name="hobby", phrase="This user's hobby is", filler="attributes"),
    FacetConfig(name="background", phrase=" The user's background is", filler="generosity"),
)


class HistoryConfig(_Frozen):
    """How a user's interactions become text.

    polarity         say of every item whether the user liked it, behind its title. The profile must know.
    polarity_weight  weight of the polarity tokens in the likelihood, against `title_weight`.
    factorised       every item sees the prompt and itself only (docs/method.md#mask); else also the items before it.
    item_tokens      an item's text, its title and first `attributes` descriptive columns, is cut there.
    longest          a user's last so many interactions are the history; steps sample it (infer.items_per_step).
    task             T of Eq. 3; not empty: its last token, which sees every facet, predicts the history's first.
    """

    polarity: bool = True
    polarity_weight: NonNegative = 5.0
    title_weight: NonNegative = 0.1
    factorised: bool = True
    attributes: Annotated[int, Field(ge=0)] = 3
    item_tokens: Positive = 16
    longest: Positive = 1024
    task: Annotated[str, Field(min_length=1)] = "Predict the user's interaction history:"


class LanguageConfig(_Frozen):
    """The language model.

    path        a Hugging Face causal LM: a folder or a hub name. None: train a small one on the catalogue and
                the train histories (a GPT-2 architecture, as the settings below say).
    dtype       of the frozen model: `auto` takes bfloat16 where the CPU multiplies it in hardware.
    steps       optimiser steps of `users` histories with at most `items` items each.
    fill_share  how often a slot holds words of the other half of the history; else the word "unknown".
    """

    path: str | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    layers: Positive = 3
    width: Positive = 128
    heads: Positive = 4
    vocabulary: Annotated[int, Field(ge=300)] = 4096
    steps: Positive = 400
    users: Positive = 64
    items: Positive = 8
    lr: Annotated[float, Field(gt=0.0)] = 3e-3
    title_weight: NonNegative = 1.0
    polarity_weight: NonNegative = 3.0
    fill_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.85

    @model_validator(mode="after")
    def _even(self) -> "LanguageConfig":
        if self.width % self.heads:
            raise ValueError(f"width={self.width} has to be a multiple of heads={self.heads}")
        return self
