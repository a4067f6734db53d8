"""UserIP as an entry of METHODS. What is heavy is imported when it is needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from userip.training.methods.protocol import Facet, Profiler, SoftPrompts, Variation
from userip.training.methods.settings import MethodSettings
from userip.training.methods.userip.config import InferConfig
from userip.training.methods.userip.presets import PRESETS
from userip.training.methods.userip.variations import ABLATIONS, SWEEPS

if TYPE_CHECKING:
    from torch import Tensor

    from userip.training.crossfit.views import CrossFitViews
    from userip.training.data.dataset import Dataset
    from userip.training.methods.config import ProfileConfig


class UserIP:
    """Soft prompts inferred through a frozen language model, one per facet of the prompt."""

    name: str = "userip"
    settings: type[MethodSettings] = InferConfig
    presets: Mapping[str, Mapping[str, Any]] = PRESETS
    needs_language: bool = True
    refines: bool = True
    ablations: Mapping[str, Variation] = ABLATIONS
    sweeps: Mapping[str, Variation] = SWEEPS

    def check(self, config: "ProfileConfig") -> None:
        """Raise ValueError where profiles start at slot words and no facet has any."""
        if own(config).start == "filler" and all(facet.filler == "none" for facet in config.facets):
            raise ValueError("infer.start = 'filler' needs a facet whose filler is not 'none'; or start 'shared'")

    def facets(self, config: "ProfileConfig") -> tuple[Facet, ...]:
        """Those that the prompt names."""
        return tuple(Facet(facet.name, facet.size) for facet in config.facets)

    def fit(
        self, dataset: "Dataset", views: "CrossFitViews", run: Path, out: Path, config: "ProfileConfig", seed: int
    ) -> Profiler:
        """Tune the shared prompt, then choose steps and prior: start.safetensors and choice.json."""
        from userip.training.methods.userip.inference import fit_inference

        return fit_inference(views.histories.of(views.full), run, out, config, seed)

    def open(self, run: Path, out: Path, config: "ProfileConfig", seed: int) -> Profiler:
        """Open start.safetensors and choice.json; RUN/language when text is read first."""
        from userip.training.methods.userip.inference import Inference

        return Inference.open(run, out, config, seed)

    def describe(self, out: Path, facet: str, codes: "Tensor") -> tuple[str, ...]:
        """Nothing of its own: a soft prompt is told by its users' words, as every release tells them."""
        return ("",) * len(codes)

    def soft_prompts(self, profiler: Profiler) -> SoftPrompts | None:
        """The language model and the shared prompt."""
        from userip.training.methods.userip.inference import Inference

        assert isinstance(profiler, Inference)
        start = profiler.start
        return SoftPrompts(profiler.language, start.shared, start.random_seed is not None)


def own(config: "ProfileConfig") -> InferConfig:
    """The section `infer` of a configuration of this method."""
    assert isinstance(config.infer, InferConfig)
    return config.infer
