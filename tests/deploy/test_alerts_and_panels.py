"""Alert rules and dashboard: what they ask for, a worker gives."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pgsched.cli.main import COMMANDS
from pgsched.worker.metrics import METRICS, Kind, Metric
from tests.deploy.shipped import (
    DASHBOARD,
    OF_THE_SCRAPER,
    ROOT,
    RULES,
    Selector,
    alerts,
    expressions,
    labels_shown,
    labels_used,
    panels,
    selectors,
)
from tests.worker.running import Project
from tests.worker.scraping import Scrape, wait_value

if TYPE_CHECKING:
    from pathlib import Path

SAMPLING_INTERVAL_S = 15

ALERTS = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
EXPRESSIONS = pytest.mark.parametrize(
    ("user", "expression"), list(expressions()), ids=[user for user, _ in expressions()]
)


def series_names(metric: Metric) -> set[str]:
    if metric.kind is Kind.HISTOGRAM:
        return {f"{metric.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")}
    return {metric.name}


DECLARED = {name: metric for metric in METRICS for name in series_names(metric)}


@EXPRESSIONS
def test_what_is_asked_for_is_declared(user: str, expression: str) -> None:
    found = selectors(expression)
    assert found, expression
    known: set[str] = set()
    for metric, matchers in found:
        assert metric in DECLARED, metric
        labels = {*DECLARED[metric].labels, *({"le"} if metric.endswith("_bucket") else ())}
        assert {name for name, _, _ in matchers} - OF_THE_SCRAPER <= labels, metric
        known |= labels
    assert labels_used(expression) <= known


@pytest.mark.parametrize("page", ["monitoring", "alerts"])
def test_what_a_page_asks_for_is_declared(page: str) -> None:
    text = (ROOT / f"docs/how-to/{page}.md").read_text("utf-8")
    asked = {each.metric for each in selectors(text)}
    assert asked
    assert asked <= set(DECLARED)


def test_every_metric_is_shown_in_a_panel() -> None:
    shown = {
        DECLARED[each.metric].name
        for panel in panels()
        for target in panel["targets"]
        for each in selectors(target["expr"])
    }
    assert shown == {metric.name for metric in METRICS}


def test_a_real_worker_gives_all_of_it(database: str, tmp_path: Path) -> None:
    """With the very values of labels that are matched: `outcome="given_up"` is no use where it is called otherwise."""
    project = Project(tmp_path, database)
    project.monitoring = {"port": 0}
    with project.client:
        project.sql(
            "insert into scheduled_tasks (task_name, task_instance, last_success) values ('tick', 'default', now())"
        )
        worker = project.worker(number=0)
        try:
            worker.wait_ready()
            for task in ("run", "fail-twice", "exit"):
                project.client.schedule(task, "one")
            wait_value(worker, 1, "pgsched_executions_total", task="exit", outcome="given_up")
            wait_value(worker, 1, "pgsched_executions_total", task="run", outcome="succeeded")
            wait_value(worker, 2, "pgsched_executions_total", task="fail-twice", outcome="failed")
            page = wait_value(worker, 0, "pgsched_queue_executions", state="unknown")
        finally:
            worker.kill_everything()
    asked = [each for _, expression in expressions() for each in selectors(expression)]
    assert [each for each in asked if not is_given(each, page)] == []


def is_given(selector: Selector, page: Scrape) -> bool:
    """Each value that a matcher names is there, whatever other ones are."""
    given = [sample.labels for sample in page.samples if sample.name == selector.metric]
    return bool(given) and all(
        value in {labels.get(name) for labels in given}
        for name, _, values in selector.matchers
        if name not in OF_THE_SCRAPER
        for value in values.split("|")
    )


@ALERTS
def test_an_alert_says_where_to_look_and_what_to_run(alert: dict[str, Any]) -> None:
    says = alert["annotations"]
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    panel = re.search(r'Panel "([^"]+)"', says["description"])
    assert panel
    assert panel[1] in {panel["title"] for panel in panels()}
    commands = re.findall(r"`pgsched (\w+)", says["description"])
    assert commands
    assert set(commands) <= set(COMMANDS)
    page, _, anchor = says["runbook_url"].partition("#")
    assert anchor == alert["alert"].lower()
    headings = re.findall(r"^### (\w+)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert alert["alert"] in headings


@ALERTS
def test_an_alert_shows_only_labels_that_it_keeps(alert: dict[str, Any]) -> None:
    shown = labels_shown(" ".join(alert["annotations"].values()))
    first = alert["expr"].partition(" and ")[0]
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", first))))
    assert shown <= (grouped or OF_THE_SCRAPER)


@ALERTS
def test_an_alert_looks_twice(alert: dict[str, Any]) -> None:
    """One sample that is off wakes nobody."""
    waits = re.fullmatch(r"(\d+)([smh])", alert["for"])
    assert waits
    assert int(waits[1]) * {"s": 1, "m": 60, "h": 3600}[waits[2]] >= 2 * SAMPLING_INTERVAL_S


def test_the_runbook_has_no_heading_of_an_alert_that_is_gone() -> None:
    text = (ROOT / "docs/how-to/alerts.md").read_text("utf-8")
    headings = re.findall(r"^### (Pgsched\w+)$", text, re.MULTILINE)
    assert headings == [alert["alert"] for alert in alerts()]


def test_panels_stand_side_by_side_and_can_be_told_apart() -> None:
    boxes = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y)
        for box in boxes
        for x in range(box["x"], box["x"] + box["w"])
        for y in range(box["y"], box["y"] + box["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    for key in ("id", "title"):
        found = [panel[key] for panel in DASHBOARD["panels"]]
        assert len(found) == len(set(found)), key


def test_the_dashboard_names_no_data_source_of_somebodys() -> None:
    """It can be imported as it is: the source is chosen by a variable."""
    for panel in panels():
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert selectors(variables["job"]["query"]["query"])
    for panel in panels():
        for target in panel["targets"]:
            assert all(("job", "=~", "$job") in s.matchers for s in selectors(target["expr"]))


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("there is no promtool on the PATH (Debian: prometheus)")
    return found


def test_prometheus_understands_the_rules(promtool: str) -> None:
    expect(promtool, "check", "rules", str(RULES))


def test_alerts_fire_when_they_should_and_only_then(promtool: str) -> None:
    """Each of them in deploy/prometheus/rules_test.yml, and none while all is well."""
    expect(promtool, "test", "rules", str(RULES.with_name("rules_test.yml")))


def test_every_alert_is_made_to_fire() -> None:
    tests = RULES.with_name("rules_test.yml").read_text("utf-8")
    named = set(re.findall(r'alertname="?(Pgsched\w+)|alertname: (Pgsched\w+)', tests))
    assert {one or other for one, other in named} == {alert["alert"] for alert in alerts()}


def test_prometheus_understands_every_panel(promtool: str, tmp_path: Path) -> None:
    """As recording rules, with Grafana's variables filled in."""
    rules = [
        {"record": f"panel:{number}", "expr": target["expr"].replace("$__rate_interval", "1m")}
        for number, target in enumerate(target for panel in panels() for target in panel["targets"])
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    expect(promtool, "check", "rules", str(file))


def expect(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
