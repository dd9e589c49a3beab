"""What operators rely on: every log event and every metric in the code is declared, and documented by `make docs`."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from mailrelay import log, metrics
from tests.meta.source import ROOT, modules, strings
from tests.support.peers import need

_LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
_NAME = re.compile(r"[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*")
_SERIES = re.compile(r"\bmailrelay_[a-z0-9_]+")


def _events(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, event) of every call like `logger.info("noun.past-participle", …)`."""
    return [
        (node.lineno, argument.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LEVELS
        for argument in node.args[:2]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


@pytest.mark.parametrize("name", modules())
def test_every_log_event_is_in_the_catalogue(name: str) -> None:
    unknown = [(line, event) for line, event in _events(modules()[name]) if event not in log.CATALOGUE]
    assert not unknown, f"{name}: put it into log.CATALOGUE with a sentence, then make docs"


def test_every_event_in_the_catalogue_is_logged_by_something() -> None:
    logged = {
        str(node.value) for name, tree in modules().items() if name != "mailrelay/log.py" for node in strings(tree)
    }
    assert not log.CATALOGUE.keys() - logged


def test_every_metric_is_set_by_something() -> None:
    declared = {
        target.id
        for node in modules()["mailrelay/metrics.py"].body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(getattr(metrics, target.id), MetricWrapperBase)
    }
    assert len(declared) > 20
    used = {
        node.attr
        for name, tree in modules().items()
        if name != "mailrelay/metrics.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "metrics"
    }
    assert not declared - used


def test_events_are_found() -> None:
    assert _events(ast.parse('logger.info("a.b", x=1); logging.log(3, "c.d")')) == [(1, "a.b"), (1, "c.d")]


@pytest.mark.parametrize("event", log.CATALOGUE)
def test_an_event_is_a_noun_and_a_participle(event: str) -> None:
    assert _NAME.fullmatch(event)
    assert log.CATALOGUE[event]


@pytest.mark.parametrize("name", [name for name in modules() if name != "mailrelay/metrics.py"])
def test_metrics_are_declared_in_one_place(name: str) -> None:
    made = [
        node.lineno
        for node in ast.walk(modules()[name])
        if isinstance(node, ast.ImportFrom)
        and node.module == "prometheus_client"
        and any(alias.name in ("Counter", "Gauge", "Histogram", "Summary", "Info", "Enum") for alias in node.names)
    ]
    assert not made, f"{name}: declare it in mailrelay/metrics.py"


def test_metrics_have_names_help_and_closed_labels() -> None:
    for family in metrics.REGISTRY.collect():
        assert re.fullmatch(r"mailrelay(_[a-z0-9]+){2,}", family.name), family.name
        assert family.documentation
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert labels <= {
            "channel",
            "listener",
            "verb",
            "klass",
            "outcome",
            "state",
            "tls",
            "kind",
            "status",
            "believed",
            "by",
            "reason",
            "scope",
            "measure",
            "control",
            "policy",
            "result",
            "service",
            "version",
        }


def test_promtool_likes_our_metrics() -> None:
    done = subprocess.run(
        [need("promtool"), "check", "metrics"],
        input=generate_latest(metrics.REGISTRY),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_promtool_likes_our_alerts_and_they_fire() -> None:
    for command in (("check", "rules", "config/alerts.yaml"), ("test", "rules", "tests/meta/alerts.yaml")):
        done = subprocess.run([need("promtool"), *command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def _rules() -> list[dict[str, object]]:
    return [
        rule for group in yaml.safe_load((ROOT / "config/alerts.yaml").read_text())["groups"] for rule in group["rules"]
    ]


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_names_series_that_exist_and_one_command(rule: dict[str, object]) -> None:
    series = {sample.name for family in metrics.REGISTRY.collect() for sample in family.samples}
    unlabelled = {family.name for family in metrics.REGISTRY.collect()}
    assert set(_SERIES.findall(str(rule["expr"]))) <= series | unlabelled
    annotations = rule["annotations"]
    assert isinstance(annotations, dict)
    assert annotations.keys() == {"summary", "runbook"}
    assert re.fullmatch(r"mailrelay [a-z]+( [a-z]+)?( --[a-z]+)?", annotations["runbook"])


def test_the_dashboard_asks_for_series_that_there_are_and_promtool_reads_its_questions(tmp_path: Path) -> None:
    dashboard = json.loads((ROOT / "config/dashboard.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    series = {sample.name for family in metrics.REGISTRY.collect() for sample in family.samples}
    series |= {family.name for family in metrics.REGISTRY.collect()}  # one has no sample before the daemon runs
    named = {name for expression in asked for name in re.findall(r"mailrelay_\w+", expression)}
    assert named
    assert named <= series
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(asked)]
    # Grafana puts the interval in; promtool wants one.
    text = yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}).replace("$__rate_interval", "5m")
    (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
    command = [need("promtool"), "check", "rules", tmp_path / "rules.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_shows_every_series() -> None:
    text = (ROOT / "config/dashboard.json").read_text(encoding="utf-8")
    assert {family.name for family in metrics.REGISTRY.collect() if family.name not in text} == set()
