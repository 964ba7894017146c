"""The rules that Grafana's dashboard-linter documents, as tests of the dashboards that are checked in.

Excepted, each with its reason, is what the linter would be told to except.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from scaler.metrics.catalog import METRICS, Kind
from tests.manifests.checked_in import ROOT, dashboards

BOARDS = dashboards()
ALL = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
WITH_UNIT = {"stat", "gauge", "table", "timeseries"}
UNITS = {"short", "percentunit", "s", "reqps", "ops", "h", "bytes"}  # those of Grafana's list that are used here
# Not the controller's own series: the service names its histogram and its labels itself.
OF_THE_SERVICE = {("Lagcast / Service", "Inference latency")}
# A share of an hour's forecasts: over less, too few have come due.
OVER_AN_HOUR = {"Coverage at 0.95", "Coverage at 0.99", "Loss against naive", "Loss, relative"}
OF_THE_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels") or []
        else:
            yield panel


def targets(board: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel, target["expr"]


def variables(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def selectors(query: str) -> list[tuple[str, str]]:
    """(metric, matchers) of each vector selector in a query."""
    return re.findall(r"((?:\$\{[^}]*\})?\w[\w:]*)\{((?:[^{}]|\$\{[^}]*\})*)\}", query)


def test_the_five_dashboards_are_there() -> None:
    assert set(BOARDS) == {f"lagcast-{n}" for n in ("overview", "service", "forecast", "pools", "controller")}
    assert {uid: board["uid"] for uid, board in BOARDS.items()} == {uid: uid for uid in BOARDS}


@ALL
def test_there_is_one_data_source_to_choose(board: dict[str, Any]) -> None:
    (source,) = (v for v in board["templating"]["list"] if v["type"] == "datasource")
    assert (source["name"], source["label"], source["query"]) == ("datasource", "Data Source", "prometheus")


@ALL
@pytest.mark.parametrize("name", ["job", "instance"])
def test_job_and_instance_are_to_choose_several_or_all(board: dict[str, Any], name: str) -> None:
    variable = variables(board)[name]
    assert variable["type"] == "query"
    assert variable["label"] == name
    assert variable["datasource"]["uid"] in ("$datasource", "${datasource}")
    assert variable["multi"] is True
    assert variable["includeAll"] is True
    assert variable["allValue"] == ".+"


@ALL
def test_variables_are_looked_up_anew_when_the_time_changes(board: dict[str, Any]) -> None:
    asked = [v for v in board["templating"]["list"] if v["type"] == "query"]
    assert asked
    for variable in asked:
        assert variable["refresh"] == 2, variable["name"]
        assert re.fullmatch(r"(label_values|query_result)\(.*\)", variable["query"]), variable["query"]


@ALL
def test_it_cannot_be_edited_in_grafana(board: dict[str, Any]) -> None:
    assert board["editable"] is False


@ALL
def test_each_panel_says_what_it_shows_and_from_the_source_chosen(board: dict[str, Any]) -> None:
    shown = list(panels(board))
    assert shown
    for panel in shown:
        assert panel["title"]
        assert panel["description"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "$datasource"}, panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"], panel["title"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@ALL
def test_each_panel_has_a_unit_of_grafanas(board: dict[str, Any]) -> None:
    for panel in panels(board):
        if panel["type"] in WITH_UNIT:
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
            for override in panel["fieldConfig"]["overrides"]:
                for chosen in override["properties"]:
                    assert chosen["id"] != "unit" or chosen["value"] in UNITS, panel["title"]


@ALL
def test_each_query_asks_for_job_and_instance(board: dict[str, Any]) -> None:
    for panel, query in targets(board):
        if (board["title"], panel["title"]) in OF_THE_SERVICE:
            continue
        found = selectors(query)
        assert found, query
        for _, matchers in found:
            assert 'job=~"$job"' in matchers, query
            assert 'instance=~"$instance"' in matchers, query


@ALL
def test_rates_are_over_the_rate_interval_or_the_time_shown(board: dict[str, Any]) -> None:
    for panel, query in targets(board):
        windows = re.findall(r"\[([^\]]*)\]", query)
        if panel["type"] in ("stat", "table"):
            assert set(windows) <= {"$__range"}, query
        elif panel["title"] in OVER_AN_HOUR:
            assert set(windows) == {"1h"}, query
        else:
            assert set(windows) <= {"$__rate_interval"}, query


@ALL
def test_it_asks_only_for_metrics_that_there_are_with_labels_that_they_have(board: dict[str, Any]) -> None:
    known = {m.sample: m for m in METRICS}
    for metric in METRICS:
        if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY):
            known |= {f"{metric.sample}_{part}": metric for part in ("bucket", "sum", "count")}
    queries = [query for _, query in targets(board)] + [v["query"] for v in board["templating"]["list"]]
    for query in queries:
        for name, matchers in selectors(query):
            if name.startswith("lagcast_"):
                assert name in known, query
                labels = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)"', matchers)) - {"job", "instance"}
                assert labels <= set(known[name].label_names), query
            else:
                assert name in OF_THE_PROCESS or name == "${latency_metric:raw}_bucket", query


@ALL
def test_every_variable_that_is_used_is_there(board: dict[str, Any]) -> None:
    names = set(variables(board))
    queries = [query for _, query in targets(board)] + [v["query"] for v in board["templating"]["list"]]
    for query in queries:
        used = set(re.findall(r"\$\{?(\w+)", query)) - {"__rate_interval", "__range"}
        assert used <= names, query


@ALL
def test_no_panel_lies_over_another(board: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"], panel["title"]


def test_the_sidecar_finds_them() -> None:
    for uid in BOARDS:
        text = (ROOT / "manifests" / "dashboards" / f"{uid}.yaml").read_text(encoding="utf-8")
        assert (
            '\n  labels:\n    grafana_dashboard: "1"\n' in text or "\n  labels:\n    grafana_dashboard: '1'\n" in text
        )
        assert f"- {uid}.yaml" in (ROOT / "manifests" / "dashboards" / "kustomization.yaml").read_text(encoding="utf-8")
