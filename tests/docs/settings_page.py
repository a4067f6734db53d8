"""docs/settings.md, made from the settings of service and training:  python -m tests.docs.settings_page"""

import inspect
import re
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from userip.service.settings import FLAGS, PREFIX, Settings
from userip.training.config import ENVIRONMENT, TrainConfig
from userip.training.methods import DEFAULT, METHODS
from userip.training.methods.settings import MethodSettings
from userip.training.quantize import QUANTIZERS
from userip.training.quantize.config import QuantizeConfig

PRESETS = "|".join(METHODS[DEFAULT].presets)
PATH = Path(__file__).parents[2] / "docs/settings.md"
_HEAD = """# Settings

This page is made from the code: `python -m tests.docs.settings_page`.

## The service

Given in a TOML file (`userip serve --config service.toml`), then in the environment, then as flags: the later wins.
Every setting has `--set name=value`; some have a flag of their own. An unknown name is an error; in the environment a
misspelt one is a warning in the log.

| setting, variable | default | meaning | values |
|---|---|---|---|
"""
_TRAINING = f"""
## Training

A preset (`userip train --preset {PRESETS}`), then `--config run.toml`, then the environment, then
`--set section.key=value`: the later wins. `method` names the profile method.
`RUN/config.toml` holds what was used, and can be given to `--config` again.
Variables are `{ENVIRONMENT}` with section and key: `{ENVIRONMENT}INFER__STEPS=6` sets `infer.steps`. An unknown name
is an error. Facets are tables of a file, `[[facets]]` each.
"""
_KINDS = {int: "a whole number", float: "a number", str: "text", Path: "a path", SecretStr: "text, never shown"}
_WORDS = {"ge": "from", "gt": "above", "le": "to"}


def page() -> str:
    """The whole page."""
    service = "".join(_row(name, field) for name, field in Settings.model_fields.items())
    return _HEAD + service + _TRAINING + "".join(_sections(TrainConfig(), ""))


def _sections(config: BaseModel, prefix: str) -> list[str]:
    """A table for every model of settings inside `config`: its defaults, and what its docstring says of each."""
    found = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        shown = f"{prefix}{name}"
        if isinstance(value, MethodSettings):
            found += [_section(shown, method.settings(), f" of method {name}") for name, method in METHODS.items()]
        elif isinstance(value, QuantizeConfig):
            found += [_section(shown, one.settings(), f" of quantizer {kind}") for kind, one in QUANTIZERS.items()]
        elif isinstance(value, BaseModel):
            found += [_section(shown, value), *_sections(value, f"{shown}.")]
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            found.append(_section(shown, value[0]))
    return found


def _section(name: str, config: BaseModel, of: str = "") -> str:
    said: dict[str, str] = {}
    for kind in reversed(type(config).__mro__):
        said |= _meanings(inspect.cleandoc(vars(kind).get("__doc__") or "")) if issubclass(kind, BaseModel) else {}
    rows = [
        f"| `{name}.{key}` | {_training_default(field)} | {said.get(key, '')} |\n"
        for key, field in type(config).model_fields.items()
        if not isinstance(field.default, BaseModel)
    ]
    return f"\n### {name}{of}\n\n| setting | default | meaning |\n|---|---|---|\n{''.join(rows)}" if rows else ""


def _meanings(docstring: str) -> dict[str, str]:
    """`name   what it means`, or `a, b   what both mean`, over one or more lines: {name: meaning}."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.splitlines():
        entry = re.match(r"(\w+(?:, \w+)*) {2,}(\S.*)", line)
        if entry:
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        elif names and line.startswith("  ") and line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        else:
            names = []
    return {name: meaning.replace("|", "\\|") for name, meaning in found.items()}


def _training_default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"`{value}`" if isinstance(value, str) else _default(value)


def _row(name: str, field: FieldInfo) -> str:
    flag = f"<br>`{FLAGS[name]}`" if name in FLAGS else ""
    default = "required" if field.is_required() else _default(field.default)
    return (
        f"| `{name}`<br>`{PREFIX}{name.upper()}`{flag} | {default} | {field.description or ''} | {_values(field)} |\n"
    )


def _default(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _values(field: FieldInfo) -> str:
    kinds: list[Any] = [field.annotation]
    if get_origin(field.annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    (kind,) = kinds
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if kind is bool:
        return "`true`, `false`"
    return " ".join([_KINDS[kind], *(text for rule in field.metadata for text in _limits(rule))])


def _limits(rule: object) -> list[str]:
    """What a rule of pydantic's says in words; one without words, as a pattern, is in the meaning."""
    if hasattr(rule, "min_length"):
        return ["not empty"]
    return [f"{word} {getattr(rule, name)}" for name, word in _WORDS.items() if hasattr(rule, name)]


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
