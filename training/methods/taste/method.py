"""Taste as an entry of METHODS: generosity, warmth and taste, for whoever wants candidates in the right order."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from userip.training.methods.protocol import Facet, Profiler, SoftPrompts, Variation
from userip.training.methods.settings import MethodSettings
from userip.training.methods.taste.config import TasteConfig

if TYPE_CHECKING:
    from torch import Tensor

    from userip.training.crossfit.views import CrossFitViews
    from userip.training.data.dataset import Dataset
    from userip.training.methods.config import ProfileConfig

FACETS: Final = ("generosity", "warmth", "taste")
# z is in the metric of clicks already. A facet's first code is what words describe; the others refine it: one for a
# number, seven for a taste.
_LEVELS: Final = {"generosity": 2, "warmth": 2, "taste": 8}
_QUANTIZE: Final = {
    "kind": "residual", "levels": _LEVELS, "metric": "plain", "click_weight": 0.0, "surrogate": False,
}  # fmt: skip
_FIT: Final = {"user_field": False, "wide": True, "dot": True, "shared_codes": True, "calibrated": True}


class Taste:
    """Closed-form posteriors of what a user likes, given item vectors."""

    name: str = "taste"
    settings: type[MethodSettings] = TasteConfig
    presets: Mapping[str, Mapping[str, Any]] = {
        "default": {"quantize": _QUANTIZE, "fit": _FIT},
        "quick": {"quantize": {**_QUANTIZE, "restarts": 4}, "fit": _FIT, "infer": {"strengths": [[40.0, 400.0]]}},
    }
    needs_language: bool = False
    refines: bool = False
    ablations: Mapping[str, Variation] = {
        "without surrogate": Variation(impossible="there is none: profiles are in the metric of clicks already"),
        "no taste": Variation(("quantize.levels.taste=1", "infer.taste=1")),
        "no attributes": Variation(("infer.least_items=1000000000",)),
    }
    sweeps: Mapping[str, Variation] = {
        f"codes of taste={codes}": Variation((f"quantize.levels.taste={codes}",)) for codes in (1, 2, 4, 8, 12)
    }

    def check(self, config: "ProfileConfig") -> None:
        """Any settings fit each other."""

    def facets(self, config: "ProfileConfig") -> tuple[Facet, ...]:
        """Sizes are settings of the section `infer`."""
        return tuple(Facet(name, getattr(own(config), name)) for name in FACETS)

    def fit(
        self, dataset: "Dataset", views: "CrossFitViews", run: Path, out: Path, config: "ProfileConfig", seed: int
    ) -> Profiler:
        """Fit level and item vectors to whole histories: taste.json and taste.safetensors, and starts.safetensors."""
        from userip.training.methods.taste.profiles import STATE, fit_profiles

        if not (out / STATE).is_file():
            fit_profiles(dataset, views, out, own(config), seed)
        return self.open(run, out, config, seed)

    def open(self, run: Path, out: Path, config: "ProfileConfig", seed: int) -> Profiler:
        """Open what `fit` wrote. A profile is in closed form: the seed makes no difference."""
        from userip.training.methods.taste.profiles import Profiles

        return Profiles.open(out)

    def describe(self, out: Path, facet: str, codes: "Tensor") -> tuple[str, ...]:
        """Plain words: odds and shares, and the attributes that a taste leans to."""
        from userip.training.judging.words import in_odds
        from userip.training.methods.taste import words
        from userip.training.methods.taste.profiles import STATE

        said = json.loads((out / STATE).read_bytes())
        centres = codes.double().numpy()
        if facet == "generosity":
            return tuple(in_odds(centres[:, 0]))
        if facet == "warmth":
            return tuple(words.warmth(centres[:, 0], said["level"]["a"], said["level"]["b"]))
        return tuple(words.taste(centres, said["attributes"]))

    def soft_prompts(self, profiler: Profiler) -> SoftPrompts | None:
        """There are none."""
        return None


def own(config: "ProfileConfig") -> TasteConfig:
    """The section `infer` of a configuration of this method."""
    assert isinstance(config.infer, TasteConfig)
    return config.infer
