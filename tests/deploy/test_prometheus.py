"""The alert rules: they name what exists, each has its runbook section, and each fires on its fault only."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.metric_names import uses, wrong

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
CASES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alert_names_metrics_that_exist(rule: dict[str, Any]) -> None:
    """Every series, label and value of the expression is one that the service has."""
    assert wrong(rule["expr"]) == []
    assert uses(rule["expr"]) or "up{" in rule["expr"]


def test_names_that_do_not_exist_are_found() -> None:
    """The check above sees an unknown series, label, value and grouping."""
    assert wrong("sum by (colour) (rate(userip_shed_total[5m]))") == ["no label colour to group by"]
    assert wrong('userip_shed_total{reason="tired"}') == ["userip_shed_total: no reason tired"]
    assert wrong('userip_shed_total{route="/score"}') == ["userip_shed_total has no label route"]
    assert wrong("userip_shed") == ["no series userip_shed"]


def test_every_alert_has_a_runbook_section_and_no_section_is_left_over() -> None:
    """The runbook's sections are the alerts, in their order; each says what it means, how to look, how to fix it."""
    names = [rule["alert"] for rule in RULES]
    sections = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]
    assert [section.split("\n", 1)[0] for section in sections] == names
    for section in sections:
        assert re.findall(r"^\*\*(\w+)\*\*", section, flags=re.MULTILINE) == ["Means", "Look", "Fix"]
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_every_alert_is_tested_both_ways() -> None:
    """Each alert has a case in which it fires and one in which it stays quiet."""
    firing = [bool(check["exp_alerts"]) for case in CASES for check in case["alert_rule_test"]]
    named = [check["alertname"] for case in CASES for check in case["alert_rule_test"]]
    assert sorted(zip(named, firing, strict=True)) == sorted(
        (rule["alert"], fires) for rule in RULES for fires in (True, False)
    )


@needs_promtool
@pytest.mark.parametrize("arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_prometheus_accepts_the_rules_and_their_tests(arguments: tuple[str, ...]) -> None:
    """Prometheus's own tool reads the rules, and each alert fires in its case and not in the other."""
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
