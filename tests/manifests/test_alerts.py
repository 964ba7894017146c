"""Each alert fires when it should, and does not when it should not: `promtool test rules` on the checked-in rules."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaler.metrics.catalog import METRICS
from tests.manifests import checked_in
from tests.manifests.checked_in import ROOT

PROMTOOL = shutil.which("promtool")
RULES = ROOT / "manifests" / "alerts" / "lagcast.rules.yaml"
WHO = 'namespace="ml", name="chat"'
WHO_LABELS = {"namespace": "ml", "name": "chat"}
JOB = 'job="lagcast", instance="one:8080"'
JOB_LABELS = {"job": "lagcast", "instance": "one:8080"}
OTHER = 'job="lagcast", instance="two:8080"'
OBJECTIVE = {
    f"lagcast_objective_share{{{WHO}}}": "0.99x1000",
    f"lagcast_objective_within_seconds{{{WHO}}}": "10x1000",
    "lagcast_tick_interval_seconds{" + JOB + "}": "15x1000",
    "lagcast_last_tick_timestamp_seconds{" + JOB + "}": "0+60x1000",
}


@dataclass(frozen=True)
class Case:
    """Series by the minute ("1+2x3": from 1 in steps of 2, three more times), and who is told at minute ``at``."""

    alert: str
    what: str
    at: int
    series: dict[str, str]
    fires: tuple[dict[str, str], ...] = ()
    without: tuple[str, ...] = ()  # series that are usually there, and not here


def one(name: str, values: str, labels: str = WHO) -> dict[str, str]:
    return {f"{name}{{{labels}}}": values}


def served(late: str, due: str = "0+600x1000") -> dict[str, str]:
    return one("lagcast_requests_due_total", due) | one("lagcast_requests_late_total", late)


def reason(name: str, values: str) -> dict[str, str]:
    return one("lagcast_reason", values, f'{WHO}, reason="{name}"')


def scored(loss: str, covered: str, count: str = "0+4x1000") -> dict[str, str]:
    return (
        one("lagcast_forecast_loss_total", loss, f'{WHO}, quantile="0.5"')
        | one("lagcast_forecast_naive_loss_total", "0+10x1000")
        | one("lagcast_forecasts_covered_total", covered, f'{WHO}, quantile="0.95"')
        | one("lagcast_forecasts_scored_total", count)
    )


def ticks(at_most_10: str, at_most_15: str) -> dict[str, str]:
    return {
        f'lagcast_tick_seconds_bucket{{{JOB}, le="10"}}': at_most_10,
        f'lagcast_tick_seconds_bucket{{{JOB}, le="15"}}': at_most_15,
        f'lagcast_tick_seconds_bucket{{{JOB}, le="+Inf"}}': at_most_15,
    }


def status(values: str, source: str = "kafka", is_: str = "error") -> dict[str, str]:
    return one("lagcast_input_status", values, f'{WHO}, source="{source}", status="{is_}"')


def patches(values: str, outcome: str) -> dict[str, str]:
    return one("lagcast_patches_total", values, f'{WHO}, outcome="{outcome}"')


def leader(values: str, replica: str = JOB) -> dict[str, str]:
    return one("lagcast_leader", values, replica)


def info(forecast: str) -> dict[str, str]:
    return one("lagcast_scaler_info", "1x1000", f'{WHO}, mode="Enforce", forecast="{forecast}"')


def pending(values: str) -> dict[str, str]:
    labels = 'pool="ml"'
    lead = one("lagcast_pool_lead_time_seconds", "400x1000", labels)
    return one("lagcast_pool_oldest_pending_seconds", values, labels) | lead


def writes(values: str, outcome: str) -> dict[str, str]:
    return one("lagcast_pool_writes_total", values, f'pool="ml", outcome="{outcome}"')


CASES = (
    Case("LagcastNodeLeadTimeMissed", "a node does not come", 20, pending("0+60x100"), ({"pool": "ml"},)),
    Case("LagcastNodeLeadTimeMissed", "it is on its way", 12, pending("0+60x100")),
    Case("LagcastNodeLeadTimeMissed", "it came in time, and another is on its way", 20, pending("0+60x10 0+60x100")),
    Case("LagcastNodeLeadTimeMissed", "nodes are not seen", 20, pending("_x100")),
    Case(
        "LagcastPoolWritesFailing",
        "forbidden at every tick",
        20,
        writes("0+4x100", "Forbidden"),
        ({"pool": "ml", "outcome": "Forbidden"},),
    ),
    Case(
        "LagcastPoolWritesFailing", "many that succeed, and a conflict now and then", 20, writes("0+4x100", "Conflict")
    ),
    Case("LagcastObjectiveBurning", "a fifth late for an hour", 70, served("0+120x1000"), (WHO_LABELS,)),
    Case("LagcastObjectiveBurning", "one in a hundred late is what was promised", 70, served("0+6x1000")),
    Case("LagcastObjectiveBurning", "over: it was bad until ten minutes ago", 70, served("0+120x60 7200x200")),
    Case("LagcastObjectiveBurning", "no requests at all", 70, served("0x1000", "0x1000")),
    Case(
        "LagcastObjectiveBurning",
        "an objective so loose that 14 times its allowance is more than all",
        70,
        served("0+400x1000") | one("lagcast_objective_share", "0.9x1000"),
        (WHO_LABELS,),
    ),
    Case("LagcastObjectiveBurningSlowly", "a twelfth late", 90, served("0+50x1000"), (WHO_LABELS,)),
    Case("LagcastObjectiveBurningSlowly", "a fiftieth late", 90, served("0+12x1000")),
    Case("LagcastTimeLagHigh", "three objectives old", 10, one("lagcast_time_lag_seconds", "30x100"), (WHO_LABELS,)),
    Case("LagcastTimeLagHigh", "within two objectives", 10, one("lagcast_time_lag_seconds", "15x100")),
    Case("LagcastTimeLagHigh", "a short jump", 10, one("lagcast_time_lag_seconds", "1x7 60x2 1x10")),
    Case("LagcastAtMaxReplicas", "for a quarter of an hour", 20, reason("MaxReplicas", "1x100"), (WHO_LABELS,)),
    Case("LagcastAtMaxReplicas", "for ten minutes", 20, reason("MaxReplicas", "_x9 1x100")),
    Case("LagcastAtMaxReplicas", "another limit", 20, reason("MinReplicas", "1x100")),
    Case("LagcastConsumersNotProgressing", "stuck", 5, reason("ConsumersNotProgressing", "1x100"), (WHO_LABELS,)),
    Case("LagcastConsumersNotProgressing", "moving again", 5, reason("ConsumersNotProgressing", "1x3 stale")),
    Case("LagcastForecastDegraded", "worse than as now", 130, scored("0+12x1000", "0+3.8x1000"), (WHO_LABELS,)),
    Case("LagcastForecastDegraded", "covers three quarters", 130, scored("0+8x1000", "0+3x1000"), (WHO_LABELS,)),
    Case("LagcastForecastDegraded", "better than as now, and covers", 130, scored("0+8x1000", "0+3.8x1000")),
    Case("LagcastForecastDegraded", "too few to tell", 130, scored("0+12x1000", "0+0.1x1000", "0+0.2x1000")),
    Case(
        "LagcastInputStale",
        "Kafka away for ten minutes",
        15,
        status("1x100"),
        (WHO_LABELS | {"source": "kafka", "status": "error"},),
    ),
    Case("LagcastInputStale", "fresh", 15, status("1x100", is_="fresh") | status("0x100")),
    Case("LagcastInputStale", "back after a while", 15, status("1x8 0x100")),
    Case("LagcastFallbackActive", "declared", 70, reason("NoForecast", "1x100") | info("levelSeason"), (WHO_LABELS,)),
    Case("LagcastFallbackActive", "not declared", 70, reason("NoForecast", "1x100") | info("none")),
    Case(
        "LagcastFallbackActive", "until history was read", 70, reason("NoForecast", "1x20 stale") | info("levelSeason")
    ),
    Case(
        "LagcastPatchesFailing",
        "forbidden at each tick",
        20,
        patches("0+4x100", "Forbidden"),
        (WHO_LABELS | {"outcome": "Forbidden"},),
    ),
    Case("LagcastPatchesFailing", "they succeed", 20, patches("0+4x100", "Applied")),
    Case("LagcastPatchesFailing", "somebody else was faster", 20, patches("0+4x100", "Conflict")),
    Case("LagcastPatchesFailing", "two, long ago", 20, patches("0x3 2x100", "PatchFailed")),
    Case(
        "LagcastNotTicking",
        "the newest tick ended at minute 5",
        20,
        {f"lagcast_last_tick_timestamp_seconds{{{JOB}}}": "0+60x5 300x100"},
        (JOB_LABELS,),
    ),
    Case(
        "LagcastNotTicking",
        "one replica hangs, the other ticks",
        20,
        one("lagcast_tick_interval_seconds", "15x100", OTHER)
        | one("lagcast_last_tick_timestamp_seconds", "0+60x5 300x100", OTHER),
        ({"job": "lagcast", "instance": "two:8080"},),
    ),
    Case("LagcastNotTicking", "nobody is scraped", 20, {}, ({},), without=("lagcast_tick_interval_seconds",)),
    Case("LagcastNotTicking", "it ticks", 20, {}),
    Case(
        "LagcastNotTicking",
        "it has never ticked",
        20,
        one("process_start_time_seconds", "0x100", JOB),
        (JOB_LABELS,),
        without=("lagcast_last_tick_timestamp_seconds",),
    ),
    Case(
        "LagcastNotTicking",
        "it has just been started",
        20,
        one("process_start_time_seconds", "1120x100", JOB),
        without=("lagcast_last_tick_timestamp_seconds",),
    ),
    Case("LagcastNoLeader", "two on standby", 10, leader("1x2 0x100") | leader("0x100", OTHER), ({"job": "lagcast"},)),
    Case("LagcastNoLeader", "one leads", 10, leader("0x100") | leader("1x100", OTHER)),
    Case("LagcastNoLeader", "a takeover", 10, leader("1x9 0x100") | leader("0x10 1x100", OTHER)),
    Case("LagcastTicksSlow", "a third above 10 s, of 15", 30, ticks("0+4x100", "0+6x100"), (JOB_LABELS,)),
    Case("LagcastTicksSlow", "all below 10 s", 30, ticks("0+4x100", "0+4x100")),
    Case(
        "LagcastInternalError",
        "a tick failed",
        10,
        one("lagcast_failed_ticks_total", "0x5 1x100", JOB),
        (JOB_LABELS,),
    ),
    Case("LagcastInternalError", "one service's decision fails", 10, reason("InternalError", "1x100"), (WHO_LABELS,)),
    Case("LagcastInternalError", "none", 10, one("lagcast_failed_ticks_total", "0x100", JOB)),
    Case("LagcastConfigRefused", "refused", 10, one("lagcast_config_valid", "1x2 0x100", JOB), (JOB_LABELS,)),
    Case("LagcastConfigRefused", "taken", 10, one("lagcast_config_valid", "1x100", JOB)),
)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)


needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: it comes with Debian's `prometheus`")


@needs_promtool
def test_the_rules_are_valid() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stderr


def placed(text: str, number: int) -> str:
    """Each case has a namespace, a job and a pool of its own, so that one run of promtool (slow to begin) does all."""
    return text.replace('"ml"', f'"case-{number}"').replace('"lagcast"', f'"case-{number}"')


def usual(case: Case) -> dict[str, str]:
    return {name: values for name, values in OBJECTIVE.items() if name.partition("{")[0] not in case.without}


def expected(number: int, case: Case, severity: str) -> dict[str, Any]:
    """Exactly these alerts of the case's name are firing."""
    common = {"alertname": case.alert, "severity": severity, "alertstate": "firing"}
    firing = f'ALERTS{{alertname="{case.alert}", alertstate="firing"'
    of_case = " or ".join(f'{firing}, {label}="case-{number}"}}' for label in ("namespace", "job", "pool"))
    samples = []
    for labels in case.fires:
        pairs = ", ".join(f'{k}="{v}"' for k, v in (common | labels).items())
        samples.append({"labels": placed(f"ALERTS{{{pairs}}}", number), "value": 1})
    # promtool tells the expression of what failed, and no name.
    expr = f'{firing}, case!="case-{number}"}}' if case.without else of_case
    return {"expr": expr, "eval_time": f"{case.at}m", "exp_samples": samples}


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    return checked_in.rules()


@pytest.fixture(scope="module")
def failures(rules: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> str:
    """What promtool has to say of all cases in one run."""
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in rules}
    together: dict[str, Any] = {"interval": "1m", "input_series": [], "promql_expr_test": []}
    tests = [together]
    for number, case in enumerate(CASES):
        test = together
        if case.without:  # such a case can only be alone
            test = {"interval": "1m", "input_series": [], "promql_expr_test": []}
            tests.append(test)
        series = {placed(name, number): values for name, values in (usual(case) | case.series).items()}
        test["input_series"] += [{"series": name, "values": values} for name, values in series.items()]
        test["promql_expr_test"].append(expected(number, case, severities[case.alert]))
    file: Path = tmp_path_factory.mktemp("promtool") / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    done = promtool("test", "rules", str(file))
    said = (done.stdout + done.stderr).replace('\\"', '"')
    assert (done.returncode == 0) == ('"case-' not in said), said
    return said


@pytest.mark.slow
@needs_promtool
@pytest.mark.parametrize(("number", "case"), list(enumerate(CASES)), ids=[f"{c.alert}: {c.what}" for c in CASES])
def test_it_fires_when_it_should_and_only_then(number: int, case: Case, failures: str) -> None:
    part = failures.partition(f'"case-{number}"')[2]
    assert not part, part[:600]


def test_each_alert_is_seen_to_fire_and_not_to_fire(rules: list[dict[str, Any]]) -> None:
    names = [rule["alert"] for rule in rules]
    assert len(set(names)) == len(names)
    for name in names:
        assert {bool(case.fires) for case in CASES if case.alert == name} == {True, False}, name


def test_each_alert_says_what_to_do(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        page = ROOT / rule["annotations"]["runbook"]
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {rule['alert']}\n")
        for part in ("**What it means.**", "**What users feel.**", "**Look at", "**What to do.**"):
            assert part in text or (part == "**What to do.**" and "**Look at and do**" in text), (page.name, part)
    kept = {path.stem for path in (ROOT / "docs" / "runbooks").glob("Lagcast*.md")}
    assert kept == {rule["alert"] for rule in rules}


def test_alerts_ask_only_for_metrics_that_there_are(rules: list[dict[str, Any]]) -> None:
    known = {metric.sample for metric in METRICS} | {"lagcast_tick_seconds_bucket"}
    for rule in rules:
        assert set(re.findall(r"lagcast_\w+", rule["expr"])) <= known, rule["alert"]


def test_the_operators_rules_are_the_same(rules: list[dict[str, Any]]) -> None:
    made = yaml.safe_load((ROOT / "manifests" / "alerts" / "prometheusrule.yaml").read_text(encoding="utf-8"))
    assert (made["apiVersion"], made["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert made["spec"]["groups"][0]["rules"] == rules
