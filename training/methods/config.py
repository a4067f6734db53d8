"""The sections of a configuration that a profile depends on."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from userip.training.language.config import FACETS, FacetConfig, HistoryConfig, LanguageConfig
from userip.training.methods import DEFAULT, METHODS
from userip.training.methods.protocol import Facet, ProfileMethod
from userip.training.methods.settings import MethodSettings


def _settings(data: dict[str, Any]) -> MethodSettings:
    return METHODS[data["method"]].settings() if "method" in data else MethodSettings()


class ProfileConfig(BaseModel):
    """What a profile depends on.

    method            a name of METHODS; `infer` holds its own settings.
    facets, language  of methods that read histories with a language model: its prompt, and the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str = DEFAULT
    facets: tuple[FacetConfig, ...] = FACETS
    history: HistoryConfig = HistoryConfig()
    language: LanguageConfig = LanguageConfig()
    infer: SerializeAsAny[MethodSettings] = Field(default_factory=_settings)

    @field_validator("method")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in METHODS:
            raise ValueError(f"{name!r} is no profile method; there are {', '.join(METHODS)}")
        return name

    @field_validator("infer", mode="before")
    @classmethod
    def _own(cls, given: Any, info: ValidationInfo) -> Any:  # noqa: ANN401  (any TOML value)
        if "method" not in info.data:  # refused already
            return MethodSettings()
        return METHODS[info.data["method"]].settings.model_validate(given)

    @model_validator(mode="after")
    def _fitting(self) -> "ProfileConfig":
        names = [facet.name for facet in self.facets]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"facets: at least one, each with a name of its own; got {names}")
        self.profile_method.check(self)
        return self

    @property
    def profile_method(self) -> ProfileMethod:
        """The entry of METHODS."""
        return METHODS[self.method]

    @property
    def sizes(self) -> dict[str, int]:
        """Codes per facet, in the order of z."""
        return {facet.name: facet.size for facet in self.profile_facets}

    @property
    def profile_facets(self) -> tuple[Facet, ...]:
        """The method's facets."""
        return self.profile_method.facets(self)

    @property
    def profile(self) -> "ProfileConfig":
        """These sections alone."""
        return ProfileConfig.model_construct(**{name: getattr(self, name) for name in ProfileConfig.model_fields})
