"""The alert rules by promtool, and the dashboard: all that they name is a metric that the documentation lists."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from support.observed import documented
from support.tools import needs

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "packaging" / "prometheus"
DASHBOARD = ROOT / "packaging" / "grafana" / "swarm.json"
NAME = re.compile(r"\b(?:swarm|process)_[a-z_]+\b")
HISTOGRAM = re.compile(r"_(?:bucket|sum|count)$")


def named(text: str) -> set[str]:
    return {HISTOGRAM.sub("", name) if "seconds_" in name else name for name in NAME.findall(text)}


def expressions() -> list[str]:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


@needs("promtool")
def test_the_alert_rules_are_valid_and_fire_when_they_should() -> None:
    for command in (
        ["check", "rules", "swarm.rules.yml"],
        ["test", "rules", "swarm.rules.test.yml"],
        ["check", "config", "--syntax-only", "prometheus.yml"],
    ):
        done = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@needs("promtool")
def test_every_expression_of_the_dashboard_can_be_evaluated(tmp_path: Path) -> None:
    text = [expression.replace("$contract", ".*") for expression in expressions()]
    groups = [{"name": "g", "rules": [{"record": f"r:{number}", "expr": each} for number, each in enumerate(text)]}]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": groups}))  # JSON is YAML
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_dashboard_name_metrics_that_there_are() -> None:
    rules = (PROMETHEUS / "swarm.rules.yml").read_text()
    queries = json.loads(DASHBOARD.read_text())["templating"]["list"][1]["query"]
    assert named(" ".join([rules, queries, *expressions()])) <= documented()


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    places = [panel["gridPos"] for panel in board["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in board["panels"]}) == len(places)
