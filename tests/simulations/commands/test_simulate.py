"""`lagcast simulate`: figures on stdout, the same for the same seed; bad input is said in a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from simulations.commands.simulate import simulate
from tests.simulations.commands.conftest import document

Call = Callable[..., Result]
HPA = ("--policy", "hpa_rate", "--policy-option", "utilization=0.8", "--score", "30m")


def test_json_on_stdout_and_progress_on_stderr(call: Call, load: Path, resource: Path) -> None:
    result = call(simulate, load, "--config", resource, *HPA, "-o", "json")
    (service,) = document(result)["services"]
    # 15 minutes at 10 requests/s and 15 at 20: 27,000, Poisson, and a straight line between the steps' centres.
    assert service["requests"] == pytest.approx(27_000, rel=0.03)
    assert 0.9 < service["attainment"] <= 1
    # From 5 replicas to 13, over half an hour: 10 / 1.6 and 20 / 1.6 are wanted.
    assert 0.5 * 6.25 < service["replica_hours"] < 0.5 * 13
    assert service["gpu_hours"] == service["replica_hours"]
    assert service["options"] == {"utilization": "0.8"}
    assert "100 %" in result.stderr


def test_the_same_seed_gives_the_same_and_another_seed_another_run(call: Call, load: Path, resource: Path) -> None:
    runs = [call(simulate, load, "--config", resource, *HPA, "--seed", seed, "-o", "json").stdout for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert json.loads(runs[0])["services"] != json.loads(runs[2])["services"]


def test_csv_and_table(call: Call, load: Path, resource: Path) -> None:
    made = call(simulate, load, "--config", resource, *HPA, "-o", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(made))
    assert row["policy"] == "hpa_rate"
    assert row["options"] == "utilization=0.8"
    assert float(row["attainment"]) > 0.9
    shown = call(simulate, load, "--config", resource, *HPA)
    assert "GPU-HOURS" in shown.stdout
    assert "prod/chat" in shown.stdout
    assert "scored: 0.5 h from second 9000, 0 s of it unknown; history before it: 2.0 h" in shown.stderr


def test_nodes_are_what_is_paid_for(call: Call, load: Path, resource: Path) -> None:
    nodes = ("--node-size", 4, "--node-lead-time", "1m..2m", "--gpus", 2)
    (on_nodes,) = document(call(simulate, load, "--config", resource, *HPA, *nodes, "-o", "json"))["services"]
    assert on_nodes["gpu_hours"] >= 2 * on_nodes["replica_hours"] * 0.99


def test_a_slower_truth_attains_less(call: Call, load: Path, resource: Path) -> None:
    def attained(*options: object) -> float:
        made = call(simulate, load, "--config", resource, *HPA, *options, "-o", "json")
        return float(document(made)["services"][0]["attainment"])

    assert attained("--service-rate", 1.2) < attained()
    assert attained("--lead-time", "10m..12m") < attained()


def test_gpus_of_a_replica_are_the_resource_s_unless_said_otherwise(call: Call, load: Path, resource: Path) -> None:
    resource.write_text(resource.read_text() + "  gpu: {pool: a100, perReplica: 4}\n")

    def gpus(*options: object) -> float:
        made = call(simulate, load, "--config", resource, *HPA, *options, "-o", "json")
        (service,) = document(made)["services"]
        return float(service["gpu_hours"] / service["replica_hours"])

    assert gpus() == pytest.approx(4.0)
    assert gpus("--gpus", 2) == pytest.approx(2.0)


def test_only_who_declares_a_latency_source_has_one(call: Call, load: Path, resource: Path, tmp_path: Path) -> None:
    with_it, source = tmp_path / "with.yaml", """{prometheus: "http://127.0.0.1:1", selector: 'app="chat"'}"""
    with_it.write_text(f"{resource.read_text()}  latency: {source}\n")

    def sources(config: Path, name: str) -> set[str]:
        journal = tmp_path / f"{name}.jsonl"
        call(simulate, load, "--config", config, "--score", "10m", "--journal", journal, "--journal-every", "15s")
        rows = [json.loads(row) for row in journal.read_text().splitlines()]
        return {source["name"] for row in rows for source in row["sources"]}

    assert sources(with_it, "with") == {"kafka", "prometheus", "kubernetes"}
    assert sources(resource, "without") == {"kafka", "kubernetes"}


def test_lagcast_itself_and_its_report(call: Call, load: Path, resource: Path, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    result = call(simulate, load, "--config", resource, "--score", "10m", "--report", page, "-o", "json")
    (service,) = document(result)["services"]
    assert service["policy"] == "lagcast"
    text = page.read_text()
    assert "PredictiveScaler prod/chat" in text
    assert f"report: {page}" in result.stderr


def test_the_resource_s_forecaster_is_used(call: Call, load: Path, resource: Path) -> None:
    with_one, without = resource.with_name("with.yaml"), resource.with_name("without.yaml")
    with_one.write_text(resource.read_text().replace("season: 1h", "season: 1h, model: levelSeason"))
    without.write_text(resource.read_text().replace("season: 1h", "season: 1h, model: none"))
    ours, reactive, none = (
        document(call(simulate, load, "--config", path, "--score", "30m", "--policy", policy, "-o", "json"))[
            "services"
        ][0]["gpu_hours"]
        for path, policy in ((with_one, "lagcast"), (resource, "lagcast_reactive"), (without, "lagcast"))
    )
    assert none == reactive
    assert ours != reactive


WRONG = {
    "no load": ([], "load: found none; allowed: exactly one of FILE, --from-kafka, --from-prometheus, --scenario"),
    "two loads": (["LOAD", "--from-kafka"], "load: found FILE and --from-kafka; allowed: exactly one of"),
    "no resource": (["LOAD"], "--config: found nothing; needed with a load of your own"),
    "no such policy": (["LOAD", "--config", "CONFIG", "--policy", "psychic"], "policy 'psychic': no such policy"),
    "needs latency": (["LOAD", "--config", "CONFIG", "--policy", "aiad"], "only the request-level simulation shows"),
    "no such option": (
        ["LOAD", "--config", "CONFIG", "--policy", "hpa_rate", "--policy-option", "mood=good"],
        "policy hpa_rate: found option mood; allowed:",
    ),
    "an option without a value": (
        ["LOAD", "--config", "CONFIG", "--policy-option", "mood"],
        "--policy-option 'mood': write NAME=VALUE",
    ),
    "zero service rate": (
        ["LOAD", "--config", "CONFIG", "--service-rate", "0"],
        "'--service-rate': 0.0 is not in the range x>0",
    ),
    "a mean below zero": (["LOAD", "--config", "CONFIG", "--mean", "-1"], "'--mean': -1.0 is not in the range x>0"),
    "nothing is scored": (["LOAD", "--config", "CONFIG", "--score", "0s"], "--score: found 0 s; allowed: at least a"),
    "no time between decisions": (
        ["LOAD", "--config", "CONFIG", "--score", "30m", "--tick", "0s"],
        "--tick: found 0 s; allowed: more than 0 s",
    ),
    "a lead time below zero": (["LOAD", "--config", "CONFIG", "--lead-time", "-5s"], "a duration is never negative"),
    "a lead time upside down": (["LOAD", "--config", "CONFIG", "--lead-time", "9s..5s"], "LOW at most HIGH"),
    "no such trace": (["nowhere", "--config", "CONFIG"], "nowhere: no such file, and no such trace"),
    "no such trace in a scenario": (
        ["--scenario", "pods", "--trace", "nowhere", "--day", "1"],
        "nowhere: no such file",
    ),
    "a scenario without a trace": (["--scenario", "pods"], "--trace: found nothing; needed with --scenario, such as"),
    "a scenario with a resource": (["--scenario", "pods", "--config", "CONFIG"], "--config: found with --scenario"),
    "a scenario with a rate": (
        ["--scenario", "pods", "--trace", "azfunc_diurnal", "--service-rate", "1", "--gpus", "2"],
        "--service-rate, --gpus: found with --scenario; allowed: only with a load of your own",
    ),
    "a default that is given all the same": (
        ["--scenario", "pods", "--trace", "azfunc_diurnal", "--tick", "15s"],
        "--tick: found with --scenario",
    ),
    "a query without Prometheus": (
        ["LOAD", "--config", "CONFIG", "--query", "x"],
        "--query: found with FILE; allowed: only with --from-prometheus",
    ),
    "a form without a file": (["--from-kafka", "--config", "CONFIG", "--form", "trace"], "--form: found with --from-k"),
    "a column of a trace": (["LOAD", "--config", "CONFIG", "--column", "t_s"], "--column: found with the form trace"),
    "idle nodes without nodes": (
        ["LOAD", "--config", "CONFIG", "--node-idle", "10m"],
        "--node-idle: found without --node-size",
    ),
    "a trace without a scenario": (["LOAD", "--config", "CONFIG", "--trace", "x"], "found without --scenario"),
    "no query": (
        ["--from-prometheus", "--prometheus", "http://127.0.0.1:1", "--config", "CONFIG"],
        "--query: found nothing",
    ),
    "no Prometheus": (["--from-prometheus", "--query", "x", "--config", "CONFIG"], "--prometheus: found nothing, and"),
    "no such object": (["LOAD", "--config", "CONFIG", "--name", "other"], "--name other: found 0 objects of it"),
    "a GPU too many": (["LOAD", "--config", "CONFIG", "--gpus", "9", "--node-size", "8"], "weight: found 9"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_said_in_a_line(call: Call, load: Path, resource: Path, case: str) -> None:
    arguments, said = WRONG[case]
    named = {"LOAD": str(load), "CONFIG": str(resource)}
    result = call(simulate, *(named.get(a, a) for a in arguments))
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_load_without_a_request_is_refused(call: Call, load: Path, resource: Path) -> None:
    load.write_text("t_s,value\n" + "".join(f"{60 * k},0\n" for k in range(60)))
    result = call(simulate, load, "--config", resource, "--score", "30m")
    assert result.exit_code == 2
    assert "load: found no request in what is scored; allowed: at least one (see --score)" in result.stderr


def test_a_report_that_cannot_be_written_is_told_before_the_run(call: Call, load: Path, resource: Path) -> None:
    result = call(simulate, load, "--config", resource, *HPA, "--report", resource / "run.html")
    assert result.exit_code == 1
    assert str(resource) in result.stderr
    assert "%" not in result.stderr


def test_a_broken_row_is_named_by_file_and_line(call: Call, load: Path, resource: Path) -> None:
    load.write_text(load.read_text().replace("120,600", "120,-600"))
    result = call(simulate, load, "--config", resource)
    assert result.exit_code == 2
    assert f"{load}:4: value is -600" in result.stderr
    load.write_text(load.read_text().replace("120,-600", "120,1e300"))
    result = call(simulate, load, "--config", resource)
    assert result.exit_code == 2
    assert f"{load}:4: value is 1e300; allowed: at most 1e+12" in result.stderr


def test_a_broker_that_is_not_there_is_an_error(call: Call, resource: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.commands.loads.KAFKA_TIMEOUT", 1.0)
    result = call(simulate, "--from-kafka", "--config", resource)
    assert result.exit_code == 1
    assert "topic prompts" in result.stderr


def test_a_secret_that_is_not_there_is_named_by_its_file(call: Call, resource: Path) -> None:
    security = "{security.protocol: SASL_SSL, sasl.mechanism: PLAIN, sasl.username.file: /no/user, "
    security += "sasl.password.file: /no/password}"
    resource.write_text(resource.read_text().replace("topic: prompts,", f"topic: prompts, properties: {security},"))
    result = call(simulate, "--from-kafka", "--config", resource)
    assert result.exit_code == 1
    assert "sasl.username.file in spec.kafka.properties" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_prometheus_that_is_not_there_is_an_error(call: Call, resource: Path) -> None:
    arguments = ("--from-prometheus", "--prometheus", "http://127.0.0.1:1", "--query", "sum(rate(x[1m]))")
    result = call(simulate, *arguments, "--config", resource)
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
