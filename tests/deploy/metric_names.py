"""PromQL as far as names go: which of the service's metrics an expression names, with which labels."""

import re
from typing import NamedTuple

from userip.service.observe.metrics import DEFINITIONS, Definition

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "sum": ("",), "max": ("",)}
SERIES: dict[str, Definition] = {
    f"userip_{definition.name}{suffix}": definition
    for definition in DEFINITIONS
    for suffix in _SUFFIXES[definition.kind]
}
FROM_SCRAPING = {"job", "instance"}


class Use(NamedTuple):
    """One series in an expression: its name, and its matchers as label -> value."""

    series: str
    matchers: dict[str, str]


def uses(expression: str) -> list[Use]:
    """Every series of ours that the expression selects."""
    found = re.findall(r"\b(userip_\w+)(?:\{([^}]*)\})?", expression)
    return [Use(name, dict(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', matchers))) for name, matchers in found]


def wrong(expression: str) -> list[str]:
    """What the expression names that the service does not have; empty when all is there."""
    problems, labels = [], set(FROM_SCRAPING)
    for use in uses(expression):
        if use.series not in SERIES:
            problems.append(f"no series {use.series}")
            continue
        definition = SERIES[use.series]
        own = {*definition.labels, *(["le"] if use.series.endswith("_bucket") else [])}
        labels |= own
        problems += [f"{use.series} has no label {label}" for label in set(use.matchers) - own - FROM_SCRAPING]
        # Closed sets of values are listed in the metric's description.
        for label in {"outcome", "reason", "result"} & set(use.matchers):
            problems += [
                f"{use.series}: no {label} {value}"
                for value in use.matchers[label].split("|")
                if not re.search(rf"\b{value}\b", definition.text)
            ]
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        problems += [f"no label {label} to group by" for label in set(re.split(r",\s*", group)) - labels]
    return problems
