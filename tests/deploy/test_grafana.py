"""The dashboard: it parses, names what exists, and covers every metric of the service."""

import json
from pathlib import Path
from typing import Any

from tests.deploy.metric_names import SERIES, uses, wrong
from userip.service.observe.metrics import DEFINITIONS

PATH = Path(__file__).parents[2] / "deploy/grafana/userip.json"
DASHBOARD: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_every_expression_names_what_exists() -> None:
    """Every series, label and value in every panel and annotation is one that the service has."""
    notes = [note["expr"] for note in DASHBOARD["annotations"]["list"]]
    assert {text: found for text in [*EXPRESSIONS, *notes] if (found := wrong(text))} == {}
    assert all(uses(text) for text in EXPRESSIONS)


def test_every_metric_is_shown() -> None:
    """No metric of the service is left out."""
    shown = {SERIES[use.series].name for text in EXPRESSIONS for use in uses(text)}
    assert {definition.name for definition in DEFINITIONS} - shown == set()


def test_every_expression_is_of_the_chosen_job_and_source() -> None:
    """The two choices at the top, data source and job, hold for every panel."""
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "job"}
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["expr"].count("{") == target["expr"].count('{job=~"$job"'), target["expr"]


def test_panels_lie_side_by_side() -> None:
    """No two panels cover the same cell of the grid, none reaches over its edge, and each has an id of its own."""
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
