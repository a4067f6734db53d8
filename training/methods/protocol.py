"""What a profile method is. Everything after it (quantize, fold-in, evaluation, export) knows only this.

A method turns histories into profiles z. It is fitted once, to the train histories; what it has fitted lies in
RUN/infer. From there on a profile is a function of one user's history: any batch, shard or later day gives the same z,
and fold-in gives the code that training would have given.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from userip.training.methods.settings import MethodSettings

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from userip.training.crossfit.histories import Histories, Ints
    from userip.training.crossfit.views import CrossFitViews, ViewKeys
    from userip.training.data.dataset import Dataset
    from userip.training.language.language import Language
    from userip.training.methods.config import ProfileConfig
    from userip.training.methods.em_state import EMState
    from userip.training.methods.refine_config import RefineConfig
    from userip.training.methods.table import ProfileTable


class Facet(NamedTuple):
    """One facet of a profile and the size of its codebook."""

    name: str
    size: int


class SoftPrompts(NamedTuple):
    """What can be said of profiles that are soft prompts. shared float32 [J, m, d]: the prompt of nobody, or None."""

    language: "Language"
    shared: "Tensor"
    random: bool


class Variation(NamedTuple):
    """Other settings of training, for an evaluation: `--set` lines, over a preset if one is named.

    size, facets  every facet of the prompt with so many codes, and the first facets alone
    impossible    why no setting does it; then it is only said
    """

    settings: tuple[str, ...] = ()
    preset: str | None = None
    size: int | None = None
    facets: int | None = None
    impossible: str = ""


class Profiler(Protocol):
    """A fitted method, open to infer."""

    @property
    def items(self) -> "pl.DataFrame":
        """The catalogue that histories name their items by: `item_id`, and whatever else."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(J, m, d) of a profile."""

    @property
    def figures(self) -> Mapping[str, Any]:
        """What fitting found, for the step's record."""

    def batches(self, views: "CrossFitViews") -> "list[Ints]":
        """All views, in the groups that are inferred together."""

    def infer(self, histories: "Histories", keys: "ViewKeys") -> "Tensor":
        """Profiles float32 [B, J, m, d] of B histories, each a function of its own history alone.

        A key says which fold a history leaves out (-1: none, as for all who come later), so that nothing fitted with
        that fold's labels need touch it.
        """


@runtime_checkable
class Refiner(Profiler, Protocol):
    """A method that can move profiles towards codebooks: the E step between two M steps of the quantize step."""

    def balanced(
        self, state: "EMState", table: "ProfileTable", views: "CrossFitViews", settings: "RefineConfig"
    ) -> "EMState":
        """The state with the weight of its surrogate's loss set against the likelihood."""

    def refine(
        self, number: int, state: "EMState", histories: "Histories", keys: "ViewKeys", z: "Tensor", inferred: "Tensor",
        settings: "RefineConfig",
    ) -> "Tensor":  # fmt: skip
        """Profiles [B, J, m, d] after the E steps of round `number` from z; `inferred` is what `infer` gave."""


class ProfileMethod(Protocol):
    """An entry of METHODS.

    settings        the type of its section `infer`
    presets         what each --preset changes; one that is not there is refused
    needs_language  whether the step `language` comes first
    refines         whether what it opens is a `Refiner`: else quantize.em_rounds is refused
    ablations       parts that an evaluation leaves out, beside those that every method has
    sweeps          "setting=value" that an evaluation walks through
    """

    name: str
    settings: type[MethodSettings]
    presets: Mapping[str, Mapping[str, Any]]
    needs_language: bool
    refines: bool
    ablations: Mapping[str, Variation]
    sweeps: Mapping[str, Variation]

    def check(self, config: "ProfileConfig") -> None:
        """Raise ValueError for settings that do not fit each other."""

    def facets(self, config: "ProfileConfig") -> tuple[Facet, ...]:
        """Facets in the order of z, with the sizes of their codebooks."""

    def fit(
        self, dataset: "Dataset", views: "CrossFitViews", run: Path, out: Path, config: "ProfileConfig", seed: int
    ) -> Profiler:
        """Fit to the train users' whole histories, write to `out`, and open. What `out` has already is kept."""

    def open(self, run: Path, out: Path, config: "ProfileConfig", seed: int) -> Profiler:
        """Open what `fit` wrote to `out`. Nothing large is loaded before it is needed."""

    def describe(self, out: Path, facet: str, codes: "Tensor") -> tuple[str, ...]:
        """What each of a facet's codes [K, m*d] means, in words; an empty text where only its users can tell."""

    def soft_prompts(self, profiler: Profiler) -> SoftPrompts | None:
        """The language model behind the profiles, to be explained by; None where there is none."""
