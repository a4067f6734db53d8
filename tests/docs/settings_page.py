"""docs/settings.md, made from the settings:  python -m tests.docs.settings_page"""

import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from userip.service.settings import FLAGS, PREFIX, Settings

PATH = Path(__file__).parents[2] / "docs/settings.md"
_HEAD = """# Settings of the service

Given in a TOML file (`userip serve --config service.toml`), then in the environment, then as flags: the later wins.
Every setting has `--set name=value`; some have a flag of their own. An unknown name is an error; in the environment a
misspelt one is a warning in the log. This page is made from the code: `python -m tests.docs.settings_page`.

| setting, variable | default | meaning | values |
|---|---|---|---|
"""
_KINDS = {int: "a whole number", float: "a number", str: "text", Path: "a path", SecretStr: "text, never shown"}
_WORDS = {"ge": "from", "gt": "above", "le": "to"}


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


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
