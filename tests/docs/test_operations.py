"""What operators read agrees with the code: figures, alerts, settings that need a start, states, log lines."""

from __future__ import annotations

import re

import pytest
import yaml
from prometheus_client import CollectorRegistry

from app.building import reloading
from app.kit.metrics import Metrics
from app.mail.message import Result, Work
from app.web.kinds import KINDS
from tests.docs.reading import ROOT, text_of

PAGE = text_of(ROOT / "docs/operations.md")
RULES = [
    rule
    for group in yaml.safe_load(text_of(ROOT / "deploy/prometheus/alerts.yml"))["groups"]
    for rule in group["rules"]
]
# Of Prometheus itself and of every Python process that it scrapes.
FOREIGN = {"up": {"job", "instance"}, "process_start_time_seconds": {"job", "instance"}}


def figures() -> dict[str, set[str]]:
    """Every figure by the name under which Prometheus keeps it, with its labels."""
    known: dict[str, set[str]] = {}
    for collector in Metrics(CollectorRegistry(), "1.0").registry._collector_to_names:
        if hasattr(collector, "_labelnames"):
            known[collector._name + ("_total" if collector._type == "counter" else "")] = set(collector._labelnames)
    return known


FIGURES = figures()


def meant(name: str) -> str:
    """The figure that a series belongs to: a histogram's are told apart by endings."""
    short = re.sub(r"_(bucket|sum|count)$", "", name)
    return short if short in FIGURES else name


def test_every_figure_is_explained_with_its_labels() -> None:
    told = re.findall(r"^\| `(postroom_\w+)` \| ([\w, ]*?) ?\|", PAGE, re.MULTILINE)
    assert {name: set(labels.replace(",", " ").split()) for name, labels in told} == FIGURES


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is(rule: dict) -> None:
    expression = re.sub(r"#.*", "", str(rule["expr"]))
    names = set(re.findall(r"\b(?:postroom_\w+|process_\w+|up)\b", expression))
    assert names
    known = FIGURES | FOREIGN
    for name in names:
        assert meant(name) in known, name
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert asked <= known[meant(name)] | {"instance", "job"}, name
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")}
    assert grouped <= set.union(*(known[meant(name)] for name in names)) | {"instance", "job", "le"}
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert shown <= (grouped or set.union(*(known[meant(name)] for name in names))) | {"instance"}


def test_every_alert_is_explained() -> None:
    table = PAGE.partition("## Alerts")[2].partition("\n## ")[0]
    told = set(re.findall(r"\bPostroom[A-Z]\w+", table))
    assert told == {rule["alert"] for rule in RULES}


def test_the_reasons_and_results_that_alerts_name_exist() -> None:
    for rule in RULES:
        for value in re.findall(r'postroom_requests_refused_total\{reason=~?"([^"]+)"', str(rule["expr"])):
            assert set(value.split("|")) <= set(KINDS)
        for value in re.findall(r'postroom_recipients_total\{result="([^"]+)"', str(rule["expr"])):
            assert value in set(Result)
        for value in re.findall(r'postroom_queue_messages\{state!?="([^"]+)"', str(rule["expr"])):
            assert value in set(Work)


def test_the_settings_that_need_a_start_are_those_of_the_code() -> None:
    table = PAGE.partition("Only a start changes these")[2].partition("**Keys.**")[0]
    assert set(re.findall(r"`((?:server|log|store)[\w.]*)`", table)) == set(reloading._FIXED)


def test_every_state_and_result_is_explained() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert set(Work) <= told
    assert {*Result, "suppressed", "bounced"} - told <= {Result.SUPPRESSED, Result.BOUNCED}


def test_every_event_of_the_log_that_is_explained_is_written_somewhere() -> None:
    table = PAGE.partition("## The log")[2].partition("\n## ")[0]
    told = {
        event for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for event in re.findall(r"`([^`]+)`", row)
    }
    source = "\n".join(text_of(path) for path in (ROOT / "app").rglob("*.py"))
    assert told
    assert {event for event in told if f'"{event}"' not in source} == set()
