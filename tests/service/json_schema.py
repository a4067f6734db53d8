"""A small JSON Schema checker for the keywords that our OpenAPI document uses; it refuses all others."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_ANNOTATIONS = {"title", "description", "default", "examples"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def problems(value: Any, schema: Any, document: Mapping[str, Any], at: str = "$") -> list[str]:  # noqa: ANN401  # any JSON value
    """Everything in `value` that `schema` (with references into `document`) does not allow."""
    if schema is True or schema == {}:
        return []
    if "$ref" in schema:
        assert set(schema) == {"$ref"}, schema
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return problems(value, target, document, at)
    if "anyOf" in schema:
        branches = [problems(value, branch, document, at) for branch in schema["anyOf"]]
        if not all(branches):
            return []
        return [f"{at}: fits none of anyOf", *(text for branch in branches for text in branch)]
    found: list[str] = []
    for keyword, rule in schema.items():
        if keyword not in _ANNOTATIONS:
            found += [f"{at}: {text}" for text in _simple(keyword, rule, value)]
    for name, inner, inner_schema in _inside(value, schema):
        if inner_schema is False:
            found.append(f"{at}: {name} is not allowed")
        else:
            found += problems(inner, inner_schema, document, f"{at}{name}")
    return found


def _inside(value: Any, schema: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401
    """Every value inside `value` with its name and schema."""
    if isinstance(value, list):
        for i, element in enumerate(value):
            yield f"[{i}]", element, schema.get("items", True)
    elif isinstance(value, dict):
        known = schema.get("properties", {})
        for name, inner in value.items():
            yield (
                f".{name}",
                inner,
                known[name] if name in known else schema.get("additionalProperties", True),
            )
            yield f".{name} (key)", name, schema.get("propertyNames", True)


def _simple(keyword: str, rule: Any, value: Any) -> list[str]:  # noqa: ANN401
    number = isinstance(value, int | float) and not isinstance(value, bool)
    checks: dict[str, Callable[[], bool]] = {
        "type": lambda: (
            isinstance(value, _TYPES[rule]) and not (isinstance(value, bool) and rule in ("integer", "number"))
        ),
        "enum": lambda: value in rule,
        "const": lambda: value == rule,
        "minLength": lambda: not isinstance(value, str) or len(value) >= rule,
        "maxLength": lambda: not isinstance(value, str) or len(value) <= rule,
        "pattern": lambda: not isinstance(value, str) or re.search(rule, value) is not None,
        "minItems": lambda: not isinstance(value, list) or len(value) >= rule,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= rule,
        "minimum": lambda: not number or value >= rule,
        "maximum": lambda: not number or value <= rule,
    }
    if keyword == "required":
        return [f"{name} is missing" for name in rule if isinstance(value, dict) and name not in value]
    if keyword in ("properties", "additionalProperties", "propertyNames", "items"):
        return []
    assert keyword in checks, f"the checker does not know {keyword}"
    return [] if checks[keyword]() else [f"{value!r} violates {keyword} {rule!r}"]
