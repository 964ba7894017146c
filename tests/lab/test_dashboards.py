"""Every panel of every dashboard shows something: its queries, on a real Prometheus that scraped a real controller.
That of GPU pools has its pool in test_pools.py.

No Grafana can be run where the tests run; what it would do to a query (filling in variables) is done here.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from simulations.lab.lab import Lab
from simulations.lab.measure import Measured
from simulations.lab.ports import free_port
from simulations.lab.process import end, spawn
from simulations.lab.scenario import Scenario, ScenarioSpec
from simulations.lab.worker import Membership
from simulations.traces import Spike
from tests.manifests.checked_in import ROOT, dashboards, rules

pytestmark = pytest.mark.lab

COMMIT = Membership("", "", "").commit  # s between the commits of a consumer
RUN = 75.0  # s: two lead times and a spike, so that pods came up and forecasts have come due
SPIKE = Spike(every=120.0, at=40.0, length=20.0, height=4.0)
ENFORCED = ScenarioSpec(name="board-chat", spike=SPIKE, past=480.0, policy=None, most=20)
RECOMMENDED = ScenarioSpec(
    name="board-embed", spike=SPIKE, past=480.0, policy=None, most=12, mean=10.0, mode="Recommend"
)
BOARDS = dashboards()


@dataclass(frozen=True)
class Prometheus:
    """Asks as Grafana does. ``end`` (unix s): the time shown is the ``RUN`` s before it."""

    url: str
    end: float
    measured: dict[str, Measured] = field(default_factory=dict)  # by the consumers themselves, of each service
    committed: dict[str, Measured] = field(default_factory=dict)  # the same, had each been told of by its commit, late

    def values(self, query: str, *, instant: bool, at: float | None = None) -> list[float]:
        """Every number of the answer; for an instant, at the end of the time shown or at ``at``."""
        if instant:
            found = self._ask("query", {"query": query, "time": at or self.end})
            return [float(series["value"][1]) for series in found["result"]]
        asked = {"query": query, "start": self.end - RUN, "end": self.end, "step": 5}
        found = self._ask("query_range", asked)
        return [float(value) for series in found["result"] for _, value in series["values"]]

    def variable(self, query: str, regex: str) -> list[str]:
        """Values that a query variable has to choose from."""
        asked = re.fullmatch(r"query_result\((.*)\)", query)
        if asked:
            found = self._ask("query", {"query": asked[1], "time": self.end})["result"]
            texts = [f"{json.dumps(s['metric'])} {s['value'][1]} {s['value'][0] * 1000:.0f}" for s in found]
            matches = [re.fullmatch(regex.strip("/"), text) for text in texts]
            return [match[1] for match in matches if match]
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        assert asked, query
        span = {"match[]": asked[1], "start": self.end - RUN, "end": self.end}
        return list(self._ask(f"label/{asked[2]}/values", span))

    def _ask(self, what: str, parameters: dict[str, Any]) -> Any:
        answer = requests.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]


def fill(text: str, values: dict[str, str]) -> str:
    """A text with the variables in it replaced."""
    return re.sub(r"\$\{(\w+)(?::raw)?\}|\$(\w+)", lambda found: values[found[1] or found[2]], text)


def chosen(board: dict[str, Any], prometheus: Prometheus, name: str | None) -> dict[str, str]:
    """A value for each variable: all where several can be chosen, and the service ``name`` where one is to be."""
    values = {"__rate_interval": "15s", "__range": f"{RUN:.0f}s"}
    for variable in board["templating"]["list"]:
        if variable["type"] != "query":
            continue
        found = prometheus.variable(fill(variable["query"], values), variable.get("regex", ""))
        assert found, (board["title"], variable["name"])
        if variable["name"] == "name":
            assert name in found
            values["name"] = name
        else:
            values[variable["name"]] = variable["allValue"] if variable["includeAll"] else found[0]
    return values


@pytest.fixture(scope="module")
def prometheus(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen one controller look after two services for a while."""
    folder: Path = tmp_path_factory.mktemp("boards")
    address = f"127.0.0.1:{free_port()}"
    target = Path(lab.prometheus.file_sd) / "lagcast-boards.json"
    with Scenario(lab, folder, ENFORCED) as chat, Scenario(lab, folder, RECOMMENDED) as embed:
        config = folder / "scalers.yaml"
        config.write_text(yaml.safe_dump_all([chat._resource(), embed._resource()]), encoding="utf-8")
        command = [sys.executable, "-m", "scaler.cli", "run", "--config", str(config), "--tick", "2s"]
        command += ["--listen", address, "--kubeconfig", lab.kubernetes.controller_kubeconfig]
        log = folder / "controller.log"
        mark = spawn(command, log=log, directory=folder)
        try:
            chat.send()
            embed.send()
            target.write_text(json.dumps([{"targets": [address]}]), encoding="utf-8")
            begun = time.time()
            time.sleep(max(chat.next_spike() + SPIKE.length, begun + RUN) - begun)
            now = time.time()
            last = now - ENFORCED.within - 3 * ENFORCED.tick  # of these requests, all are judged by now
            found = {s.spec.name: s.measured(last - RUN / 2, last) for s in (chat, embed)}
            # Offsets tell of a request when it is committed: at most an interval after it was finished.
            told = {s.spec.name: s.measured(last - RUN / 2, last, ENFORCED.within - COMMIT) for s in (chat, embed)}
            yield Prometheus(lab.prometheus.url, now, found, told)
        finally:
            target.unlink(missing_ok=True)
            end(mark, 20.0)
            said = log.read_text(encoding="utf-8")
    assert "please report it" not in said, said[-2000:]


@pytest.mark.parametrize(
    ("board", "name"),
    [
        *((board, None) for uid, board in BOARDS.items() if uid not in ("lagcast-service", "lagcast-pools")),
        (BOARDS["lagcast-service"], ENFORCED.name),
        (BOARDS["lagcast-service"], RECOMMENDED.name),
    ],
    ids=lambda value: value["title"] if isinstance(value, dict) else str(value or "all"),
)
def test_every_panels_queries_return_data(prometheus: Prometheus, board: dict[str, Any], name: str | None) -> None:
    values = chosen(board, prometheus, name)
    empty = []
    for panel in board["panels"]:
        for asked in panel.get("targets", []):
            query = fill(asked["expr"], values)
            found = prometheus.values(query, instant=asked["instant"])
            if not any(math.isfinite(value) for value in found):
                empty.append(f"{panel['title']}: {query} -> {found[:3]}")
    assert not empty, "\n".join(empty)


def test_the_api_server_takes_the_config_maps(lab: Lab) -> None:
    done = lab.kubernetes.run("apply", "--dry-run=server", "-k", str(ROOT / "manifests" / "dashboards"))
    assert done.code == 0, done.output
    assert done.output.count("configmap/lagcast-") == len(BOARDS)


def test_the_alerts_expressions_are_answered(prometheus: Prometheus) -> None:
    for rule in rules():
        prometheus.values(rule["expr"], instant=True)  # a query that is wrong is refused


def test_late_requests_are_those_that_the_consumers_saw(
    prometheus: Prometheus, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, measured in prometheus.measured.items():

        def counted(kind: str, name: str = name, m: Measured = measured) -> float:
            """Of the requests that arrived in the window, by the time their time was up and a tick had seen it."""
            times = (m.start + ENFORCED.within + ENFORCED.tick, m.end + ENFORCED.within + ENFORCED.tick)
            query = f'lagcast_{kind}_total{{name="{name}"}}'
            begun, ended = (prometheus.values(query, instant=True, at=at)[0] for at in times)
            return ended - begun

        share = 1.0 - counted("requests_late") / counted("requests_due")
        followed = 1.0 - counted("recommended_requests_late") / counted("recommended_requests_due")
        with capsys.disabled():
            print(  # noqa: T201 - the figures that this test is for
                f"\n  {name}: in time {share:.1%} as counted from offsets, {measured.attainment:.1%} as the consumers"
                f" saw; {counted('requests_due'):.0f} and {measured.requests} requests; {followed:.1%} if followed",
                end="",
            )
        least = prometheus.committed[name].attainment
        assert measured.attainment is not None
        assert least is not None
        assert least - 0.05 <= share <= measured.attainment + 0.05
        assert counted("requests_due") == pytest.approx(measured.requests, rel=0.15)


def test_counts_agree_with_each_other(prometheus: Prometheus) -> None:
    def total(metric: str, name: str) -> float:
        (value,) = prometheus.values(f'{metric}{{name="{name}"}}', instant=True)
        return value

    for spec in (ENFORCED, RECOMMENDED):
        due = total("lagcast_requests_due_total", spec.name)
        assert due > spec.mean * RUN / 2
        assert 0 <= total("lagcast_requests_late_total", spec.name) <= due
        assert total("lagcast_replica_seconds_total", spec.name) >= spec.replicas * RUN / 2
    (constant,) = prometheus.values(
        f'max_over_time(lagcast_current_replicas{{name="{RECOMMENDED.name}"}}[{RUN:.0f}s])', instant=True
    )
    assert constant == RECOMMENDED.replicas, "in Recommend nothing is changed"
