"""The configuration of a run: presets, then a TOML file, then the environment, then flags.

Environment: USERIP_TRAIN_INFER__STEPS=6 sets infer.steps. Flags: --set infer.steps=6. Values are TOML
(`true`, `0.3`, `[1, 2]`); what is not TOML is taken as text.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from userip.files import write_text
from userip.training.errors import ConfigError
from userip.training.export.config import ExportConfig
from userip.training.language.config import FacetConfig, HistoryConfig, LanguageConfig
from userip.training.methods.userip.config import InferConfig, QuantizeConfig
from userip.training.recommender.config import RecommenderConfig

Sources = list[tuple[str, dict[str, Any]]]  # what a message says of one, and what it gives; later ones win

ENVIRONMENT: Final = "USERIP_TRAIN_"

FACETS: Final = (
    FacetConfig(name="hobby", phrase="This user's hobby is", filler="attributes"),
    FacetConfig(name="background", phrase=" The user's background is", filler="generosity"),
)


class TrainConfig(BaseModel):
    """Every setting of a run, one section per step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str = "userip"
    facets: tuple[FacetConfig, ...] = FACETS
    history: HistoryConfig = HistoryConfig()
    language: LanguageConfig = LanguageConfig()
    infer: InferConfig = InferConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    fit: RecommenderConfig = RecommenderConfig()
    export: ExportConfig = ExportConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        names = [facet.name for facet in self.facets]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"facets: at least one, each with a name of its own; got {names}")
        if self.infer.start == "filler" and all(facet.filler == "none" for facet in self.facets):
            raise ValueError("infer.start = 'filler' needs a facet whose filler is not 'none'; or start 'shared'")
        return self


def _small_codebooks() -> list[dict[str, Any]]:
    """The paper's sizes: hobby 4, background 3."""
    return [facet.model_dump() | {"size": size} for facet, size in zip(FACETS, (4, 3), strict=True)]


# What each preset changes against the defaults, which are the preset `practical`.
PRESETS: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "practical": {},
    "quick": {
        "language": {"steps": 150, "users": 48, "layers": 2, "vocabulary": 2048},
        "infer": {"shared_steps": 10, "probe_users": 96, "priors": [1.0]},
        "quantize": {"restarts": 4},
    },
    # The paper's text: Eq. 2 to 7 with all weights .001, mean-reduced; history as plain text; no cross-fitting.
    "paper": {
        "facets": _small_codebooks(),
        "history": {"factorised": False, "polarity_weight": 1.0, "title_weight": 1.0, "longest": 8},
        "infer": {
            "start": "shared", "rank": 0, "folds": 0, "steps": 4, "lr": 0.05, "priors": [0.0], "probe_users": 0,
        },
        "quantize": {
            "metric": "plain", "click_weight": 0.0, "update": "gradient", "alpha": 1e-3, "beta": 1e-3,
            "gamma": 1e-3, "reduction": "mean", "balance": False, "rounds": 2, "revive_share": 0.0,
        },
        "fit": {"lr": 1e-3, "weight_decay": 1e-6, "dropout": 0.2},
    },
    # The released code: no surrogate, no commitment, an online k-means of z that starts near zero.
    "released": {
        "facets": _small_codebooks(),
        "history": {"factorised": False, "polarity_weight": 1.0, "title_weight": 1.0, "longest": 8},
        "infer": {
            "start": "random", "rank": 0, "folds": 0, "shared_steps": 0, "steps": 4, "lr": 0.05, "priors": [0.0],
            "probe_users": 0,
        },
        "quantize": {
            "start": "uniform", "metric": "plain", "click_weight": 0.0, "update": "gradient", "alpha": 0.5,
            "beta": 0.0, "gamma": 1.0, "reduction": "mean", "surrogate": False, "balance": False, "rounds": 2,
            "revive_share": 0.0,
        },
        "fit": {"lr": 1e-3, "weight_decay": 1e-6, "dropout": 0.2},
    },
}  # fmt: skip


def load_config(
    preset: str = "default",
    file: Path | None = None,
    settings: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
) -> TrainConfig:
    """Resolve a configuration. Raises ConfigError naming the setting, and where a value came from."""
    if preset not in PRESETS:
        raise ConfigError(f"--preset {preset}: no such preset; there are {', '.join(PRESETS)}")
    sources: Sources = [("", PRESETS[preset])]
    if file is not None:
        sources.append((f"--config {file}: ", _read_toml(file)))
    for name, text in sorted((os.environ if environment is None else environment).items()):
        if name.startswith(ENVIRONMENT):
            path = name.removeprefix(ENVIRONMENT).lower().split("__")
            sources.append((f"{name}: ", _nested(path, _value(text))))
    for setting in settings:
        key, found, text = setting.partition("=")
        if not found:
            raise ConfigError(f"--set {setting}: give it as section.key=value")
        sources.append(("", _nested(key.strip().split("."), _value(text.strip()))))
    merged: dict[str, Any] = {}
    for _, values in sources:
        _merge(merged, values)
    try:
        return TrainConfig.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(_giver(sources, first["loc"]) + _explain(first)) from None


def write_config(config: TrainConfig, file: Path) -> None:
    """Write the resolved configuration as TOML; reading it back gives the same configuration."""
    text = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
    write_text(file, text)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"--config {file}: not found") from None
    except OSError as error:
        raise ConfigError(f"--config {file}: cannot be read ({error.strerror or error})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {file}: not TOML: {error}") from None


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _giver(sources: Sources, place: Sequence[int | str]) -> str:
    """Which source gave what stands at `place`, or else what is around it."""
    while place:
        for said, values in reversed(sources):
            if _holds(values, place):
                return said
        place = place[:-1]
    return ""


def _holds(values: Any, path: Sequence[int | str]) -> bool:  # noqa: ANN401  (any TOML value)
    """Whether something stands at `path`: keys of tables, places in lists."""
    try:
        for part in path:
            values = values[part]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _nested(path: list[str], value: Any) -> dict[str, Any]:  # noqa: ANN401  (any TOML value)
    for key in reversed(path):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def _value(text: str) -> Any:  # noqa: ANN401  (any TOML value)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(first: Mapping[str, Any]) -> str:
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        section: Any = TrainConfig
        for part in first["loc"][:-1]:
            fields = getattr(section, "model_fields", {})
            section = fields[str(part)].annotation if str(part) in fields else section
        known = ", ".join(getattr(section, "model_fields", {}))
        return f"{where}: no such setting; there are: {known}"
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
