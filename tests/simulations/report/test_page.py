"""The page: what stands in it, that it is whole in itself, and that nothing from users can act in it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulations.record import LatencyHistogram
from simulations.report import Report, write_report
from simulations.report.page import for_script, render
from simulations.report.tables import Table, frontier_table, measures_table, worst_stretch
from simulations.report.views import page_data
from tests.simulations.report.made import measures, record, report, without_data

HOUR = 3600
HOSTILE = '</script><script>alert(1)</script><b title="x">\'&amp;'


class Page(HTMLParser):
    """Elements that can load something, ids with their text, and all text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "br", "img"}:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for name in {name for _, name in self._open if name is not None}:
            self.text[name] = self.text.get(name, "") + data


@pytest.fixture(scope="module")
def two() -> Report:
    return report(
        record("lagcast", ("chat", "embed"), 2 * HOUR), record("hpa_rate", ("chat", "embed"), 2 * HOUR, factor=1.0)
    )


@pytest.fixture(scope="module")
def page(two: Report) -> str:
    return render(two)


def data_of(page: str) -> Any:
    return json.loads(Page(page).text["data"])


def cells(table: Table, row: int) -> dict[str, str]:
    return {column.title: cell.text for column, cell in zip(table.columns, table.rows[row], strict=True)}


def test_the_foot_says_where_it_comes_from(page: str, two: Report) -> None:
    text = Page(page).text
    assert text["seed"] == "7"
    assert text["version"] == "0.1.0"
    assert text["hash"] == two.data_hash
    assert text["configuration"] == two.configuration


def test_nothing_in_it_is_loaded_from_elsewhere(page: str) -> None:
    tags = Page(page).tags
    assert not [tag for tag, attributes in tags if "src" in attributes or tag in {"iframe", "object", "embed", "img"}]
    assert [attributes["href"] for _, attributes in tags if "href" in attributes] == ["data:,"]
    rule = next(a["content"] for t, a in tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert rule is not None
    assert rule.startswith("default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: ")
    own = [part for part in re.split(r"<script[^>]*>|</script>", page) if "plotly.js v" not in part]
    assert len(own) == len(re.split(r"<script[^>]*>|</script>", page)) - 1  # the library is in it, once
    assert not [part for part in own if "http:" in part or "https:" in part or "//cdn" in part]


def test_the_same_report_the_same_bytes(two: Report, page: str, tmp_path: Path) -> None:
    write_report(two, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == page.encode()
    assert render(replace(two, seed=8)) != page


def test_names_from_users_are_text_wherever_they_stand() -> None:
    one = record(HOSTILE, (HOSTILE,), HOUR)
    hostile = replace(report(one), title=HOSTILE, configuration=HOSTILE, version=HOSTILE, data_hash=HOSTILE)
    hostile = replace(hostile, frontier=tuple(replace(p, policy=HOSTILE, parameter=HOSTILE) for p in hostile.frontier))
    text, plain_page = render(hostile), render(report(record("lagcast", ("chat",), HOUR)))
    assert [tag for tag, _ in Page(text).tags].count("script") == 3
    assert "<b title" not in text
    assert Page(text).text["configuration"] == HOSTILE
    assert {t for t, _ in Page(text).tags} == {t for t, _ in Page(plain_page).tags}
    assert data_of(text)["runs"][0]["services"][0]["uid"] == HOSTILE
    assert for_script("</script>") == "\\u003c/script\\u003e"


def test_every_run_service_sweep_and_the_bound_are_in_the_data(page: str, two: Report) -> None:
    data = data_of(page)
    assert [[s["uid"] for s in run["services"]] for run in data["runs"]] == [["chat", "embed"]] * 2
    assert len(data["loads"]) == 2  # one a service: both runs met the same load
    assert [s["policy"] for s in data["frontier"]["sweeps"]] == ["hpa_rate", "keda_lag", "lagcast", "static"]
    assert [b["attainment"] for b in data["frontier"]["bound"]] == [0.99, 0.999]
    best = [p for s in data["frontier"]["sweeps"] for p in s["points"] if 0.99 in p["best"]]
    assert len(best) == 4
    nodes = data["runs"][0]["pool"]
    assert nodes["asked"]["v"][0] == two.records[0].pool.asked[0]
    assert nodes["floor"]["reasons"][0] == "Forecast"


def test_a_decision_is_told_with_its_reasons_and_numbers(two: Report) -> None:
    one = two.records[0].services[0]
    told = page_data(two)["runs"][0]["services"][0]["decisions"]
    assert len(told["t"]) == told["of"] == len(one.desired)
    tick = int(np.flatnonzero(np.diff(one.desired))[-1]) + 1
    second = tick * 15
    assert told["reasons"][told["reason"][tick]] == "Forecast Applied"
    assert (told["desired"][tick], told["ready"][tick], told["pending"][tick]) == (
        one.desired[tick],
        one.ready[second],
        one.pending[second],
    )
    assert told["rate"][tick] == pytest.approx(one.rate[tick], rel=1e-3)
    assert told["p95"][tick] == pytest.approx(one.forecast[tick, 2], rel=1e-3)
    assert (told["service_rate"][tick], told["lead_time"][tick], told["floor_replicas"][tick]) == (2, 90, 3)
    assert told["forecast_replicas"][tick] is None  # the made decisions do not say
    assert (told["ahead"][0], told["p50"][0], told["rate"][0]) == (None, None, None)


def test_a_gap_is_a_gap(two: Report) -> None:
    drawn = page_data(two)["loads"][0]
    hole = [2 * HOUR // 3, 2 * HOUR // 3 + 2 * HOUR // 20]
    assert drawn["gaps"] == [hole]
    assert drawn["mean"][drawn["t"].index(hole[0])] is None
    assert not [t for t in drawn["t"] if hole[0] < t < hole[1]]


def test_a_run_of_which_nothing_was_seen_has_no_zeros() -> None:
    one = without_data(record("static", ("chat",), HOUR, nodes=False))
    blank = replace(measures(one)[0], attainment=math.nan, p50=math.nan, p99=math.nan)
    bare = Report("Nothing", (one,), ((blank,),), "00", "", "0", 0)
    data = data_of(render(bare))
    service = data["runs"][0]["services"][0]
    assert service["forecast"] is None
    assert service["latency"] == {"edges": [], "slower": []}
    assert set(service["rate"]["mean"]) == set(data["loads"][0]["mean"]) == {None}
    assert data["frontier"] == {"sweeps": [], "runs": [], "bound": [], "shares": [0.99, 0.999]}
    row = cells(measures_table(bare), 0)
    assert (row["attainment"], row["p50, s"], row["worst 10 min"]) == ("–", "–", "–")
    assert frontier_table(bare) is None


def test_the_table_has_a_row_for_each_service_and_one_for_all(two: Report) -> None:
    table = measures_table(two)
    assert [(r[0].text, r[1].text) for r in table.rows] == [
        (policy, service) for policy in ("lagcast", "hpa_rate") for service in ("chat", "embed", "all services")
    ]
    chat, embed, both = (two.measures[0][0], two.measures[0][1], table.rows[2])
    titles = [c.title for c in table.columns]
    assert both[titles.index("requests")].key == chat.requests + embed.requests
    assert both[titles.index("GPU-hours")].key == chat.gpu_hours + embed.gpu_hours
    attained = 1 - (chat.late + embed.late) / (chat.requests + embed.requests)
    assert both[titles.index("attainment")].key == pytest.approx(attained)
    assert both[titles.index("p99, s")].text == "–"


def test_what_just_missed_does_not_look_attained(two: Report) -> None:
    missed = replace(two.measures[0][0], attainment=0.9899999)
    rows = measures_table(replace(two, measures=((missed, two.measures[0][1]), two.measures[1])))
    assert cells(rows, 0)["attainment"] == "98.999 %"


def test_the_bests_are_set_against_the_bound(two: Report) -> None:
    table = frontier_table(two)
    assert table is not None
    rows = [cells(table, i) for i in range(len(table.rows))]
    assert [r["policy"] for r in rows[:5]] == ["bound", "hpa_rate", "keda_lag", "lagcast", "static"]
    static = next(p for p in two.frontier if p.policy == "static")
    assert rows[4]["times the bound"] == f"{static.gpu_hours / two.bound[0].gpu_hours:.4g}"
    short = replace(two, frontier=(replace(static, attainment=0.5),))
    table = frontier_table(short)
    assert table is not None
    assert cells(table, 1)["attainment"] == "not reached; at most 50.000 %"


def test_the_worst_stretch_is_the_one_with_most_late_requests() -> None:
    late = np.zeros(5000)
    late[1000:1100], late[1500:1600], late[4000:4100] = 1.0, 2.0, 3.0
    assert worst_stretch(late) == pytest.approx(300 / 600)
    assert worst_stretch(late, 50) == pytest.approx(150 / 600)
    assert worst_stretch(late, 9000) == 1.0
    assert math.isnan(worst_stretch(np.zeros(10)))


def test_runs_of_the_same_policy_are_told_apart(two: Report) -> None:
    again = replace(two, records=(two.records[0],) * 2, measures=(two.measures[0],) * 2)
    assert again.names == ("lagcast", "lagcast (2)")


def test_measures_of_other_services_are_refused(two: Report) -> None:
    with pytest.raises(ValueError, match=r"measures: found services \[\['chat', 'embed'\]\]; allowed: one for each"):
        replace(two, measures=two.measures[:1])
    with pytest.raises(ValueError, match="at least one record"):
        replace(two, records=(), measures=())


def test_the_latency_tail_is_exact_and_ends_with_the_slowest_request() -> None:
    one = record("lagcast", ("chat",), HOUR, nodes=False)
    counts = np.array([0.0, 0.0, 1e17 / 3, 1e17 / 7, 1.0, 2.0, 1e-9, 0.0, 0.0])
    edges = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, math.inf])
    service = replace(one.services[0], latency=LatencyHistogram(edges, counts))
    drawn = page_data(report(replace(one, services=(service,))))["runs"][0]["services"][0]["latency"]
    assert drawn["edges"] == [0.2, 0.3, 0.4, 0.5, 0.6]
    whole = counts.sum()
    assert drawn["slower"] == pytest.approx([1.0, (1e17 / 7 + 3) / whole, 3 / whole, 2 / whole, 0.0], rel=1e-4, abs=0)


def test_a_sweep_is_joined_in_the_order_of_its_parameter(two: Report) -> None:
    shuffled = replace(two, frontier=two.frontier[::-1])
    values = [p["value"] for p in page_data(shuffled)["frontier"]["sweeps"][1]["points"]]
    assert values == sorted(values)
    assert len(values) == 8
