"""The queries by which an HPA or a ScaledObject follows Lagcast: a value while it is fresh, and none else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

OVERLAY = Path(__file__).parents[2] / "manifests" / "overlays" / "external-metric"
PROMTOOL = shutil.which("promtool")
ONE, TWO = 'instance="one:8080"', 'instance="two:8080"'
WHO = 'namespace="default", name="chat"'
DESIRED = "lagcast_desired_replicas"
TICKED = "lagcast_last_tick_timestamp_seconds"


def adapter_query() -> str:
    document = yaml.safe_load((OVERLAY / "hpa" / "adapter-rules.yaml").read_text())
    (rule,) = yaml.safe_load(document["data"]["config.yaml"])["externalRules"]
    assert rule["name"]["as"] == DESIRED
    hpa = yaml.safe_load((OVERLAY / "hpa" / "hpa.yaml").read_text())
    metric = hpa["spec"]["metrics"][0]["external"]["metric"]
    assert metric["name"] == DESIRED
    labels = metric["selector"]["matchLabels"] | {"namespace": hpa["metadata"]["namespace"]}
    matchers = ",".join(f'{name}="{value}"' for name, value in labels.items())
    query = str(rule["metricsQuery"])
    return query.replace("<<.Series>>", DESIRED).replace("<<.LabelMatchers>>", matchers)


def keda_query() -> str:
    document = yaml.safe_load((OVERLAY / "keda" / "scaledobject.yaml").read_text())
    (trigger,) = document["spec"]["triggers"]
    assert trigger["metadata"]["ignoreNullValues"] == "false", "an empty answer is no zero"
    return str(trigger["metadata"]["query"])


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize("query", [adapter_query, keda_query])
@pytest.mark.parametrize(
    ("series", "minute", "value"),
    [
        ({f"{DESIRED}{{{WHO},{ONE}}}": "9x20", f"{TICKED}{{{ONE}}}": "0+60x20"}, 5, 9),
        ({f"{DESIRED}{{{WHO},{ONE}}}": "9x20", f"{TICKED}{{{ONE}}}": "0+60x5 300x15"}, 6, 9),
        ({f"{DESIRED}{{{WHO},{ONE}}}": "9x20", f"{TICKED}{{{ONE}}}": "0+60x5 300x15"}, 8, None),  # it hangs
        ({f"{DESIRED}{{{WHO},{ONE}}}": " ".join(["NaN"] * 20), f"{TICKED}{{{ONE}}}": "0+60x20"}, 5, None),  # not known
        ({f"{DESIRED}{{{WHO},{ONE}}}": "0x20", f"{TICKED}{{{ONE}}}": "0+60x20"}, 5, 0),  # none is a number
        (  # the leader before, which hangs, does not count; the new one does
            {
                f"{DESIRED}{{{WHO},{ONE}}}": "30x20",
                f"{TICKED}{{{ONE}}}": "0+60x2 120x18",
                f"{DESIRED}{{{WHO},{TWO}}}": "9x20",
                f"{TICKED}{{{TWO}}}": "0+60x20",
            },
            10,
            9,
        ),
        ({f'{DESIRED}{{namespace="default",name="other",{ONE}}}': "9x20", f"{TICKED}{{{ONE}}}": "0+60x20"}, 5, None),
    ],
)
def test_a_value_while_it_is_fresh(
    query: Any, series: dict[str, str], minute: int, value: int | None, tmp_path: Path
) -> None:
    assert PROMTOOL is not None
    rules = {"groups": [{"name": "g", "rules": [{"record": "wanted", "expr": f"max({query()})"}]}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    samples = [] if value is None else [{"labels": "wanted", "value": value}]
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": "wanted", "eval_time": f"{minute}m", "exp_samples": samples}],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [PROMTOOL, "test", "rules", str(tmp_path / "test.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
