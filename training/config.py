"""The configuration of a run: presets, then a TOML file, then the environment, then flags.

Environment: USERIP_TRAIN_INFER__STEPS=6 sets infer.steps. Flags: --set infer.steps=6. Values are TOML
(`true`, `0.3`, `[1, 2]`); what is not TOML is taken as text.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import tomli_w
from pydantic import BaseModel, SerializeAsAny, ValidationError, field_validator, model_validator

from userip.files import write_text
from userip.training.errors import ConfigError
from userip.training.export.config import ExportConfig
from userip.training.methods import DEFAULT, METHODS
from userip.training.methods.config import ProfileConfig
from userip.training.methods.settings import MethodSettings
from userip.training.quantize import QUANTIZERS
from userip.training.quantize.config import QuantizeConfig
from userip.training.quantize.protocol import Quantizer
from userip.training.recommender.config import RecommenderConfig
from userip.training.renames import warn_renamed

Sources = list[tuple[str, dict[str, Any]]]  # what a message says of one, and what it gives; later ones win

ENVIRONMENT: Final = "USERIP_TRAIN_"
MOST_CODES: Final = 32  # of a record in the bank
RENAMED: Final = {("quantize", "rounds"): "em_rounds"}


class TrainConfig(ProfileConfig):
    """Every setting of a run: the profile's sections, then one per step."""

    quantize: SerializeAsAny[QuantizeConfig] = QUANTIZERS["kmeans"].settings()
    fit: RecommenderConfig = RecommenderConfig()
    export: ExportConfig = ExportConfig()

    @field_validator("quantize", mode="before")
    @classmethod
    def _own_settings(cls, given: Any) -> Any:  # noqa: ANN401  (any TOML value)
        if isinstance(given, BaseModel):
            given = given.model_dump()
        if not isinstance(given, Mapping):
            raise ValueError("a table of settings")
        kind = given.get("kind", "kmeans")
        if kind not in QUANTIZERS:
            raise ValueError(f"kind {kind!r} is no quantizer; there are {', '.join(QUANTIZERS)}")
        return QUANTIZERS[kind].settings.model_validate(given)

    @property
    def quantizer(self) -> Quantizer:
        """The entry of QUANTIZERS."""
        return QUANTIZERS[self.quantize.kind]

    @property
    def code_sizes(self) -> dict[str, int]:
        """Name and size of every code of a user, facet by facet."""
        return dict(self.quantizer.codes(self.profile_facets, self.quantize))

    @model_validator(mode="after")
    def _refinable(self) -> "TrainConfig":
        if self.quantize.last_round and not self.profile_method.refines:
            setting = "em_rounds" if self.quantize.em_rounds else "click_rounds"
            raise ValueError(f"quantize.{setting}: method {self.method!r} has no E step to alternate with; set it to 0")
        if self.quantize.em_rounds and not self.quantizer.refines:
            raise ValueError(f"quantize.em_rounds: quantizer {self.quantize.kind!r} has no M step; set it to 0")
        codes = [name for name, _ in self.quantizer.codes(self.profile_facets, self.quantize)]
        if len(set(codes)) < len(codes):
            raise ValueError(f"facets: quantizer {self.quantize.kind!r} would give two codes one name: {codes}")
        if len(codes) > MOST_CODES:
            raise ValueError(f"quantize: {len(codes)} codes a user; at most {MOST_CODES}: fewer levels or facets")
        return self


def load_config(
    preset: str = "default",
    file: Path | None = None,
    settings: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
) -> TrainConfig:
    """Resolve a configuration. Raises ConfigError naming the setting, and where a value came from."""
    sources: Sources = []
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
    sources = [(said, _renamed(said, values)) for said, values in sources]
    sources.insert(0, ("", _preset(preset, _merged(sources).get("method", DEFAULT))))
    try:
        config = TrainConfig.model_validate(_merged(sources))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(_giver(sources, first["loc"]) + _explain(first, _merged(sources))) from None
    if not config.profile_method.needs_language:
        _refuse_unread(config, sources)
    return config


def _refuse_unread(config: TrainConfig, sources: Sources) -> None:
    """Raise ConfigError for settings of the language model, where the method has none and would ignore them."""
    usual = TrainConfig(method=config.method)
    read = usual.model_copy(update={"history": usual.history.model_copy(update={"longest": config.history.longest})})
    for section in ("facets", "language", "history"):
        if getattr(config, section) != getattr(read, section):
            raise ConfigError(
                f"{_giver(sources, [section])}{section}: method {config.method!r} has no language model and would "
                f"ignore {'all but history.longest' if section == 'history' else 'it'}; leave it out"
            )


def write_config(config: TrainConfig, file: Path) -> None:
    """Write the resolved configuration as TOML; reading it back gives the same configuration."""
    text = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
    write_text(file, text)


def _preset(name: str, method: object) -> dict[str, Any]:
    """What a preset changes for a method; nothing for a method that is not known, which is refused with its source."""
    if name == "practical":
        warn_renamed("--preset practical", "--preset default")
        name = "default"
    presets = METHODS[method].presets if isinstance(method, str) and method in METHODS else {name: {}}
    if name not in presets:
        raise ConfigError(f"--preset {name}: no such preset; there are {', '.join(presets)} for method {method}")
    return dict(presets[name])


def _renamed(said: str, values: dict[str, Any]) -> dict[str, Any]:
    """The settings of one source, those with a name of before under the new one."""
    for (section, old), new in RENAMED.items():
        mine = values.get(section)
        if isinstance(mine, Mapping) and old in mine:
            warn_renamed(f"{said}{section}.{old}", f"{section}.{new}")
            values = values | {section: {new if key == old else key: value for key, value in mine.items()}}
    return values


def _merged(sources: Sources) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for _, values in sources:
        _merge(merged, values)
    return merged


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
            into[key] = deepcopy(value)  # a preset's tables are everybody's


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


def _explain(first: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        section: Any = TrainConfig
        for part in first["loc"][:-1]:
            fields = getattr(section, "model_fields", {})
            section = fields[str(part)].annotation if str(part) in fields else section
            if section is MethodSettings:
                section = METHODS[given.get("method", DEFAULT)].settings
            if section is QuantizeConfig:
                section = QUANTIZERS[given.get("quantize", {}).get("kind", "kmeans")].settings
        known = ", ".join(getattr(section, "model_fields", {}))
        return f"{where}: no such setting; there are: {known}"
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
